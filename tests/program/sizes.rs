//! How large a secret may be, and what it costs in memory. Values of a mebibyte are not hunted for in logs: they would cost the test itself
//! more than Squire.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    Aws, Bao, Impostor, Manners, Rig, SOON, STORE_SOURCE, Squire, make_role, make_store, store,
};

const MIB: usize = 1 << 20;

/// So many secrets of a mebibyte, nearly, so that each is below the usual limit.
const SECRETS: usize = 16;

/// The most memory that Squire had so far, in bytes.
fn peak(squire: &Squire<'_>) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", squire.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// A configuration of [`SECRETS`] secrets whose values are in files.
fn configure(rig: &Rig, source: &str, template: &str) {
    let part = |number: usize| {
        let inline = template.replace("VALUE", &format!("s{number}.value"));
        format!(
            "[secret.s{number}]\npath = \"secret/@tenant@/s{number}\"\n\
             [[file]]\npath = \"s{number}\"\ninline = '{inline}'\non_change = \"none\"\n"
        )
    };
    let rest: String = (0..SECRETS).map(part).collect();
    rig.config_of_source(&format!("address = \"@address@\"\nrefresh = \"1h\"\n{source}"), &rest);
}

/// Runs Squire until all of these values are published, and then those, all at once; the most memory that each of the two took.
fn peak_of(
    values: [&dyn Fn(usize) -> Value; 2],
    source: &str,
    template: &str,
    published: [&str; 2],
) -> [usize; 2] {
    let tenant = Bao::shared().tenant();
    let write = |value: &dyn Fn(usize) -> Value| {
        for number in 0..SECRETS {
            let fields = json!({"data": {"value": value(number)}});
            tenant.bao().api().post(&format!("secret/data/{}/s{number}", tenant.name()), &fields);
        }
    };
    let rig = Rig::new(&tenant);
    configure(&rig, source, template);
    write(values[0]);
    let mut squire = rig.run();
    let all_begin = |squire: &mut Squire<'_>, word: &str| {
        squire.wait_at_most(SOON * 3, "all is published", || {
            (0..SECRETS).all(|number| rig.read(&format!("out/s{number}")).starts_with(word))
        });
    };
    all_begin(&mut squire, published[0]);
    let at_start = peak(&squire);
    write(values[1]);
    squire.signal(Signal::SIGUSR1);
    all_begin(&mut squire, published[1]);
    let peaks = [at_start, peak(&squire)];
    squire.stop();
    peaks
}

/// What N MiB of secrets take beside what Squire takes anyway. While all of them rotate at once, there are the values of before too.
#[test]
fn secrets_cost_less_than_four_times_their_size() {
    let small = peak_of([&|_| json!("one"), &|_| json!("two")], "", "{{VALUE}}", ["one", "two"]);
    let text = |word: &'static str| {
        move |number: usize| json!(format!("{word} {number:2} ").repeat((MIB - 4096) / 7))
    };
    let large = peak_of([&text("one"), &text("two")], "", "{{VALUE}}", ["one", "two"]);
    let costs = [large[0].saturating_sub(small[0]), large[1].saturating_sub(small[1])];
    for (cost, held) in costs.into_iter().zip([SECRETS * MIB, 2 * SECRETS * MIB]) {
        assert!(cost < 4 * held, "{} MiB for {}, beside {}", cost / MIB, held / MIB, small[1] / MIB);
    }
}

/// A tree of such a list takes forty times its text, and there is one at a time, while its template is rendered.
#[test]
fn lists_are_held_as_text() {
    let small = peak_of([&|_| json!([0]), &|_| json!([1])], "", "{{VALUE.0}}", ["0", "1"]);
    let zeros = |first: u8| {
        move |_| {
            let mut items = vec![Value::from(0); MIB / 8];
            items[0] = first.into();
            Value::from(items)
        }
    };
    let large = peak_of([&zeros(0), &zeros(1)], "max_size = \"8MiB\"", "{{VALUE.0}}", ["0", "1"]);
    let (cost, text) = (large[1].saturating_sub(small[1]), MIB / 4);
    assert!(cost < 40 * text + 8 * SECRETS * text, "{} MiB, beside {}", cost / MIB, small[1] / MIB);
}

const FILE: &str = "[[file]]\npath = \"big\"\ninline = \"{{#if big.value}}it is there{{/if}}\"\n";

#[test]
fn what_is_larger_than_it_may_be_is_refused_in_words_until_it_may() {
    let tenant = Bao::shared().tenant();
    let path = format!("secret/data/{}/big", tenant.name());
    let rig = Rig::new(&tenant);
    let configure = |source: &str, secret: &str| {
        let secret = format!("[secret.big]\npath = \"secret/@tenant@/big\"\n{secret}\n{FILE}");
        rig.config_of_source(&format!("address = \"@address@\"\n{source}"), &secret);
    };
    for value in [json!("x".repeat(MIB + 1)), json!(vec![0; 40_000])] {
        tenant.bao().api().post(&path, &json!({"data": {"value": value}}));
        configure("", "");
        rig.render_says("is larger than 1 MiB, counted with 32 bytes for each value in it: raise `max_size`");
        for (source, secret) in [("max_size = \"2MiB\"", ""), ("", "max_size = \"2MiB\"")] {
            configure(source, secret);
            assert_eq!(rig.render().code, 0);
            assert_eq!(rig.read("out/big"), "it is there");
        }
        configure("max_size = \"2MiB\"", "max_size = \"64KiB\"");
        rig.render_says("is larger than 64 KiB");
    }
}

#[test]
fn a_store_and_aws_have_the_same_limit() {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    store(&rig, &["put", "prod/big"], &"x".repeat(100 << 10));
    make_role(&rig, &["--read", "prod/*"]);
    let configure = |rig: &Rig, source: &str, path: &str, limit: &str| {
        rig.whole_config(&format!(
            "{source}\nmax_size = \"{limit}\"\n[secret.big]\npath = \"{path}\"\n[output]\ndir = \"@dir@/out\"\n{FILE}"
        ));
    };
    configure(&rig, STORE_SOURCE, "prod/big", "64KiB");
    rig.render_says("prod/big is larger than 64 KiB");
    configure(&rig, STORE_SOURCE, "prod/big", "128KiB");
    assert_eq!(rig.render().code, 0);

    let aws = Aws::shared();
    let (rig, name) = (aws.rig(), aws.secret(&"x".repeat(60 << 10)));
    configure(&rig, "[source.aws]", &name, "32KiB");
    rig.render_says("is larger than 32 KiB");
    configure(&rig, "[source.aws]", &name, "64KiB");
    assert_eq!(rig.render().code, 0);
    assert_eq!(rig.read("out/big"), "it is there");
}

/// Runs Squire, as AWS has it, against somebody whose answer has no end, until it says so.
fn ends_as_a_fault(rig: &Rig, endpoint: &str) {
    rig.whole_config(&format!(
        "[source.aws]\nregion = \"eu-central-1\"\nendpoint = \"{endpoint}\"\n[secret.big]\npath = \"app\"\n\
         [output]\ndir = \"@dir@/out\"\n{FILE}[process]\ncommand = [\"sleep\", \"1000\"]\n"
    ));
    let mut squire = rig.run();
    squire.wait_until("it says that the answer is too long", || {
        rig.read("stderr.1").contains("the answer is longer than 4 MiB")
    });
    assert!(peak(&squire) < 128 * MIB, "{} MiB", peak(&squire) / MIB);
    squire.stop();
}

#[test]
fn an_answer_of_aws_without_end_is_a_fault_of_secrets_and_of_credentials() {
    let endless = Impostor::start(Manners::Endless);
    let rig = Rig::at(&endless.address());
    rig.set("AWS_EC2_METADATA_DISABLED", "true");
    rig.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/credentials", endless.address()));
    ends_as_a_fault(&rig, "http://127.0.0.1:1");
    assert!(endless.visitors() > 0);

    let endless = Impostor::start(Manners::Endless);
    let rig = Rig::at(&endless.address());
    rig.set("AWS_ACCESS_KEY_ID", "AKIA0000000000000000");
    rig.set("AWS_SECRET_ACCESS_KEY", "no-key-at-all");
    ends_as_a_fault(&rig, &endless.address());
    assert!(endless.visitors() > 0);
}
