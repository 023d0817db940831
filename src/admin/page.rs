//! The page at `/`: the status for a browser. It is one document that asks for nothing but `v1/status` and `v1/events` beside it.
//!
//! Who attacks: whoever may choose a text that is shown, such as the message of a server, a path, or the name of a command. The script
//! makes text nodes of them, and never markup. If it made markup by mistake, the policy of the page would still keep a browser from running it:
//! only the script and the style with these digests count, nothing is loaded from elsewhere, and nobody may put the page into a frame.
//!
//! *Invariant:* pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const FRAME: &str = include_str!("page/frame.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The document.
pub(super) fn document() -> String {
    FRAME.replace("{{style}}", STYLE).replace("{{script}}", SCRIPT)
}

/// Its `Content-Security-Policy`. The picture is the icon of the tab, which is part of the page.
pub(super) fn policy() -> String {
    let [script, style] = [SCRIPT, STYLE].map(|text| STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{NextAction, Outcome, SecretState, Step};

    /// The script knows a word by its name in JSON, and shows what the commands show.
    #[test]
    fn the_page_and_the_commands_say_the_same_words() {
        use SecretState::{Awaited, Denied, Expired, Fresh, Gone, Held, Renewing, Stale};
        let secrets = [Expired, Denied, Gone, Held, Awaited, Stale, Renewing, Fresh];
        let secrets = secrets.map(|state| (serde_json::to_string(&state).unwrap(), state.word()));
        let outcomes = [
            Outcome::Committed,
            Outcome::NotPassed,
            Outcome::NotPublished,
            Outcome::TakenBack,
            Outcome::Forced,
        ];
        let outcomes = outcomes.map(|outcome| (serde_json::to_string(&outcome).unwrap(), outcome.word()));
        for (name, word) in secrets.into_iter().chain(outcomes) {
            let entry = format!("{}: [\"{word}\",", name.trim_matches('"'));
            assert!(SCRIPT.contains(&entry), "{entry}");
        }
        let steps = [
            Step::Stage,
            Step::Rehearse,
            Step::Check,
            Step::Publish,
            Step::React,
            Step::Try,
            Step::HandOver,
            Step::GoBack,
        ];
        let steps = steps.map(|step| (serde_json::to_string(&step).unwrap(), step.word()));
        let actions = [NextAction::Fetch, NextAction::Renew, NextAction::LookUp, NextAction::LogIn];
        let actions = actions.map(|action| (serde_json::to_string(&action).unwrap(), action.word()));
        for (name, word) in steps.into_iter().chain(actions) {
            let entry = format!("{}: \"{word}\"", name.trim_matches('"'));
            assert!(SCRIPT.contains(&entry), "{entry}");
        }
    }

    #[test]
    fn the_script_makes_no_markup_and_nothing_comes_from_elsewhere() {
        for way in
            ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "srcdoc"]
        {
            assert!(!SCRIPT.contains(way), "{way}");
        }
        let page = document();
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page.matches("</script>").count(), 1);
        assert_eq!(page.matches("</style>").count(), 1);
        for outside in ["src=", "//cdn", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        let addresses = page.matches("http").count();
        assert_eq!(addresses, page.matches("http://www.w3.org/2000/svg").count(), "an address of elsewhere");
    }
}
