//! Random texts, read back by the programs: what no table of ugly values thought of.

use serde_json::{Map, Value};
use squire::names::SecretName;
use squire::secret::Packed;
use squire::template::{Data, Engine, Surroundings, Template};

use super::{place, read};
use crate::support::Rig;

/// What some grammar has a rule for.
const PIECES: [&str; 40] = [
    "\\", "\\", "\"", "\"", "'", "$", "$$", "${A}", "$A", "$(", "`", "#", " #", ";", "=", ":", "!", "%",
    "%s", "{", "}", "\n", "\r", "\r\n", "\t", " ", "\\n", "\\0", "\\x41", "\\u0041", "é", "😀", "\u{85}",
    "\u{a0}", "\u{2028}", "\u{feff}", "\u{7f}", "\u{1}", "0", "a",
];

/// Random texts; where the grammar can write a NUL, with some.
fn texts(with_nul: bool) -> Map<String, Value> {
    let mut random = fastrand::Rng::with_seed(14);
    let text = |random: &mut fastrand::Rng| -> String {
        let piece = |random: &mut fastrand::Rng| {
            if with_nul && random.u8(..20) == 0 { "\0" } else { PIECES[random.usize(..PIECES.len())] }
        };
        (0..random.usize(0..9)).map(|_| piece(random)).collect()
    };
    (0..500).map(|number| (format!("V{number}"), Value::from(text(&mut random)))).collect()
}

#[test]
fn what_takes_any_text_is_read_back_whatever_the_text_is() {
    let rig = Rig::at("http://127.0.0.1:1");
    let engine = Engine::new(Surroundings {
        env: Box::new(|_| None),
        file: Box::new(|_| Err(std::io::ErrorKind::NotFound.into())),
    });
    let secret = SecretName::new("app");
    for name in ["compose-env", "bash-env", "systemd-env", "json", "yaml", "toml", "java-properties"] {
        let texts = texts(!name.ends_with("-env"));
        let packed = Packed::of(&texts);
        let data = Data::new([(&secret, &packed)].into_iter());
        let text = std::fs::read_to_string(place(&format!("templates/{name}.hbs"))).unwrap();
        let template = Template::compile(name, &text).unwrap();
        let file = rig.path("seen").join(name);
        std::fs::write(&file, engine.render(&template, &data).unwrap().expose()).unwrap();
        let Some(read) = read(name, &file) else { continue };
        let differ: Vec<_> = texts.iter().filter(|(name, text)| read.get(name) != Some(text)).collect();
        assert!(differ.is_empty() && read.as_object().unwrap().len() == texts.len(), "{name}: {differ:?}");
    }
}
