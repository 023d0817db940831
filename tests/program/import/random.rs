//! Random templates in Go's language that an agent can render: every value has the type that its place asks for.
//!
//! *Invariant:* the same seed gives the same templates.

use fastrand::Rng;

/// A template with this seed.
pub(crate) fn template(seed: u64) -> String {
    let mut writer = Writer { rng: Rng::with_seed(seed), text: String::new(), texts: Vec::new(), loops: 0 };
    writer.action("define \"called\"");
    writer.literal();
    writer.action("if .");
    writer.action("printf \"<%s>\" .");
    writer.action("end");
    writer.literal();
    writer.action("end");
    writer.literal();
    writer.action("with $s := secret \"secret/data/app/db\"");
    writer.nodes(4);
    writer.action("end");
    writer.literal();
    writer.text
}

struct Writer {
    rng: Rng,
    text: String,
    /// Expressions that are texts here: the variables of loops, and the dot.
    texts: Vec<String>,
    loops: usize,
}

impl Writer {
    fn one_of(&mut self, choices: &[&str]) -> String {
        (*self.rng.choice(choices).unwrap()).to_owned()
    }

    /// Text whose characters have a meaning in one of the languages. It never ends with a brace: Go would take that for part of an action.
    fn literal(&mut self) {
        let pieces = [
            "\n", "\n", " ", "  ", "\t", "a", "x=", "\"", "\\", "{ ", "}", "}}", "\n\n", "~", "-", "!",
            "#if", "\r\n", "é", "$",
        ];
        for _ in 0..self.rng.usize(0..5) {
            let piece = self.one_of(&pieces);
            self.text.push_str(&piece);
        }
    }

    /// An action, trimmed or not.
    fn action(&mut self, inside: &str) {
        let (left, right) = (self.rng.u8(0..4), self.rng.u8(0..4));
        self.text.push_str(if left == 0 { "{{- " } else { "{{ " });
        self.text.push_str(inside);
        self.text.push_str(if right == 0 { " -}}" } else { " }}" });
    }

    fn nodes(&mut self, depth: usize) {
        for _ in 0..self.rng.usize(1..4) {
            self.literal();
            self.node(depth);
        }
        self.literal();
    }

    fn node(&mut self, depth: usize) {
        match if depth == 0 { self.rng.u8(0..6) } else { self.rng.u8(0..14) } {
            0 | 1 => {
                let text = self.some_text(2);
                self.action(&text);
            }
            2 => {
                let constant = self.one_of(&[
                    "\"{{\"",
                    "`}}`",
                    "\"{{{{ x\"",
                    "`\\{{`",
                    "\"\\n\"",
                    "7",
                    "true",
                    "\"\"",
                    "`a\n  b`",
                ]);
                self.action(&constant);
            }
            3 => self.comment(),
            4 => {
                let (one, other) = (self.some_text(1), self.some_text(0));
                self.action(&format!("printf \"%s{{{{%v%%\" ({one}) ({other})"));
            }
            5 => {
                let text = self.some_text(1);
                self.action(&format!("template \"called\" ({text})"));
            }
            6 => self.chain(depth),
            7 => self.counted(depth),
            8 => {
                self.action("$c := \"1\"");
                let condition = self.condition(1);
                self.action(&format!("if {condition}"));
                self.action("$c = \"2\"");
                self.action("end");
                self.action("$c");
            }
            9 | 10 => {
                let condition = self.condition(2);
                self.block(&format!("if {condition}"), depth);
            }
            11 => {
                let text = self.some_text(1);
                self.texts.push(".".to_owned());
                self.block_with_dot(&format!("with {text}"), depth);
            }
            _ => self.walk(depth),
        }
    }

    fn comment(&mut self) {
        let inside = self.one_of(&["/* c */", "/* {{ --}} */", "/**/", "/* a\nb */"]);
        let (left, right) = (self.rng.bool(), self.rng.bool());
        self.text.push_str(if left { "{{- " } else { "{{" });
        self.text.push_str(&inside);
        self.text.push_str(if right { " -}}" } else { "}}" });
    }

    /// `if … else if … else if … else …`
    fn chain(&mut self, depth: usize) {
        let first = self.condition(1);
        self.action(&format!("if {first}"));
        self.nodes(depth - 1);
        for _ in 0..self.rng.usize(0..3) {
            let next = self.condition(1);
            self.action(&format!("else if {next}"));
            self.nodes(depth - 1);
        }
        if self.rng.bool() {
            self.action("else");
            self.nodes(depth - 1);
        }
        self.action("end");
    }

    /// A loop over all fields of a secret, with what stands between them by a counter or by a flag.
    fn counted(&mut self, depth: usize) {
        self.loops += 1;
        let (key, value, count) =
            (format!("$k{}", self.loops), format!("$v{}", self.loops), format!("$i{}", self.loops));
        let by_flag = self.rng.bool();
        self.action("with secret \"secret/data/app/flat\"");
        self.action(&if by_flag { format!("{count} := \"\"") } else { format!("{count} := 0") });
        self.action(&format!("range {key}, {value} := .Data.data"));
        let hidden: Vec<String> = self.texts.iter().filter(|text| *text != ".").cloned().collect();
        let outer = std::mem::replace(&mut self.texts, hidden);
        self.texts.extend([key.clone(), value, ".".to_owned()]);
        if by_flag {
            self.action(&count);
            self.action(&format!("{count} = \", \""));
            self.nodes(depth - 1);
        } else {
            self.nodes(depth - 1);
            self.action(&format!("{count} = add {count} 1"));
            self.action(&format!("if lt {count} 4"));
            self.text.push(',');
            self.action("end");
        }
        self.texts = outer;
        self.action("end");
        self.action("end");
    }

    fn block(&mut self, head: &str, depth: usize) {
        self.action(head);
        self.nodes(depth - 1);
        if self.rng.bool() {
            self.action("else");
            self.nodes(depth - 1);
        }
        self.action("end");
    }

    /// A block in whose body the last of the texts is known.
    fn block_with_dot(&mut self, head: &str, depth: usize) {
        self.action(head);
        self.nodes(depth - 1);
        self.texts.pop();
        if self.rng.bool() {
            self.action("else");
            self.nodes(depth - 1);
        }
        self.action("end");
    }

    /// A loop. Inside of it the dot is something else, so what was known as the dot is hidden.
    fn walk(&mut self, depth: usize) {
        self.loops += 1;
        let (key, value) = (format!("$k{}", self.loops), format!("$v{}", self.loops));
        let subject = self.one_of(&[
            "$s.Data.data.list",
            "$s.Data.data.map",
            "$s.Data.data.nolist",
            "$s.Data.data.hosts | split \",\"",
            "$s.Data.data.map2",
        ]);
        let hidden: Vec<String> = self.texts.iter().filter(|text| *text != ".").cloned().collect();
        let outer = std::mem::replace(&mut self.texts, hidden);
        let head = match self.rng.u8(0..3) {
            0 => {
                self.texts.push(".".to_owned());
                format!("range {subject}")
            }
            1 => {
                self.texts.push(value.clone());
                format!("range {value} := {subject}")
            }
            _ => {
                self.texts.push(value.clone());
                format!("range {key}, {value} := {subject}")
            }
        };
        self.action(&head);
        if head.contains(", ") && self.rng.bool() {
            self.action(&format!("if eq (print {key}) \"0\""));
            self.literal();
            self.action("else");
            self.text.push(',');
            self.action("end");
        }
        if head.contains(", ") {
            self.action(&key);
        }
        self.nodes(depth - 1);
        self.texts = outer;
        if self.rng.bool() {
            self.action("else");
            self.literal();
        }
        self.action("end");
    }

    /// An expression that is a text.
    fn some_text(&mut self, depth: usize) -> String {
        let fields = ["user", "pass", "port", "host", "multi", "empty", "tmpl", "blanks", "pem"];
        if depth == 0 || self.rng.bool() {
            if let Some(local) = self.rng.choice(&self.texts).filter(|_| self.rng.bool()) {
                return local.clone();
            }
            return match self.rng.u8(0..6) {
                0 => "index $s.Data.data \"a-b\"".to_owned(),
                1 => "index $s.Data.data \"a.b\"".to_owned(),
                2 => "(secret \"kv1/legacy\").Data.pass".to_owned(),
                _ => format!("$s.Data.data.{}", self.one_of(&fields)),
            };
        }
        let inner = self.some_text(depth - 1);
        match self.rng.u8(0..9) {
            0 => format!("{inner} | toUpper"),
            1 => format!("{inner} | trimSpace"),
            2 => format!("{inner} | replaceAll \"a\" \"{{{{b\""),
            3 => format!("{inner} | base64Encode"),
            4 => format!("{inner} | sha256Hex"),
            5 => format!("{inner} | toUnescapedJSON"),
            6 => format!("or ({inner}) \"fallback\""),
            7 => format!("toLower ({inner})"),
            _ => format!("print ({inner})"),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        if depth == 0 || self.rng.bool() {
            let text = self.some_text(0);
            return match self.rng.u8(0..7) {
                0 => "$s.Data.data.flag".to_owned(),
                1 => "$s.Data.data.off".to_owned(),
                2 => "$s.Data.data.nothing".to_owned(),
                3 => "$s.Data.data.zero".to_owned(),
                4 => format!("eq ({text}) \"app\""),
                5 => format!("ne ({text}) \"1\" "),
                _ => format!("({text})"),
            };
        }
        let (one, other) = (self.condition(depth - 1), self.condition(depth - 1));
        // A number 0 of a secret counts as something to Go, and as nothing inside of Handlebars' `and`.
        let (one, other) = (one.replace(".zero", ".flag"), other.replace(".zero", ".off"));
        match self.rng.u8(0..3) {
            0 => format!("not ({one})"),
            1 => format!("and ({one}) ({other})"),
            _ => format!("or ({one}) ({other})"),
        }
    }
}
