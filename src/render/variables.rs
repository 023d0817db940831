//! One variable for each field of a secret.
//!
//! *Invariant:* pure; no field becomes a variable of which loaders, shells or interpreters take what runs: whoever may write the secret
//! would choose it.

use std::collections::BTreeMap;

use super::as_text;
use crate::config::EnvFrom;
use crate::plain::short;
use crate::secret::{Packed, Secret};

/// Beginnings of the names that loaders and interpreters obey, and of those by which Squire tells the process about its sockets.
const BEGINNINGS: [&str; 8] =
    ["LD_", "DYLD_", "LISTEN_", "CORECLR_", "COR_", "GIT_CONFIG_", "LUA_INIT", "PERL5"];

/// Names by which shells, interpreters and libraries load or run something before, or in place of, the program that is meant; also those
/// of the directories where they look for what says so.
const INTERPRETERS: [&str; 117] = [
    "ASPNETCORE_HOSTINGSTARTUPASSEMBLIES",
    "BASHOPTS",
    "BASH_ENV",
    "BROWSER",
    "BUNDLE_GEMFILE",
    "CATALINA_BASE",
    "CATALINA_HOME",
    "CATALINA_OPTS",
    "CDPATH",
    "CLASSPATH",
    "DOTNET_ADDITIONAL_DEPS",
    "DOTNET_ROOT",
    "DOTNET_STARTUP_HOOKS",
    "EDITOR",
    "ELIXIR_ERL_OPTIONS",
    "ENV",
    "ERL_AFLAGS",
    "ERL_FLAGS",
    "ERL_LIBS",
    "ERL_ZFLAGS",
    "FPATH",
    "GCONV_PATH",
    "GEM_HOME",
    "GEM_PATH",
    "GIO_EXTRA_MODULES",
    "GIO_MODULE_DIR",
    "GIT_ASKPASS",
    "GIT_EDITOR",
    "GIT_EXEC_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_PAGER",
    "GIT_PROXY_COMMAND",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_TEMPLATE_DIR",
    "GLIBC_TUNABLES",
    "GRADLE_OPTS",
    "GST_PLUGIN_PATH",
    "GUNICORN_CMD_ARGS",
    "HOME",
    "IBM_JAVA_OPTIONS",
    "IFS",
    "JAVA_HOME",
    "JAVA_OPTS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "JRE_HOME",
    "JRUBY_OPTS",
    "JULIA_DEPOT_PATH",
    "JULIA_LOAD_PATH",
    "JULIA_PROJECT",
    "KRB5_CONFIG",
    "LESSCLOSE",
    "LESSOPEN",
    "LIBMYSQL_PLUGINS",
    "LIBMYSQL_PLUGIN_DIR",
    "LOCPATH",
    "LUA_CPATH",
    "LUA_PATH",
    "MANPAGER",
    "MAVEN_OPTS",
    "MONO_CONFIG",
    "MONO_ENV_OPTIONS",
    "MONO_PATH",
    "NLSPATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_REPL_EXTERNAL_MODULE",
    "NOTIFY_SOCKET",
    "ODBCINI",
    "ODBCINSTINI",
    "ODBCSYSINI",
    "OPENJ9_JAVA_OPTIONS",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PAGER",
    "PATH",
    "PERLLIB",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "PROMPT_COMMAND",
    "PS4",
    "PSModulePath",
    "PYTHONBREAKPOINT",
    "PYTHONEXECUTABLE",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONPATH",
    "PYTHONPLATLIBDIR",
    "PYTHONPYCACHEPREFIX",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "PYTHONWARNINGS",
    "RUBYLIB",
    "RUBYOPT",
    "R_ENVIRON",
    "R_ENVIRON_USER",
    "R_HOME",
    "R_LIBS",
    "R_LIBS_SITE",
    "R_LIBS_USER",
    "R_PROFILE",
    "R_PROFILE_USER",
    "SASL_PATH",
    "SBT_OPTS",
    "SHELL",
    "SHELLOPTS",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "TCLLIBPATH",
    "VISUAL",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS",
    "ZDOTDIR",
    "_JAVA_OPTIONS",
];

/// The variables of a secret.
///
/// # Errors
/// The field whose name cannot be the name of a variable, and why.
pub(super) fn variables(from: &EnvFrom, fields: &Packed) -> Result<BTreeMap<String, Secret<str>>, String> {
    let mut variables = BTreeMap::new();
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    for (field, value) in fields.expose() {
        let name = name(from, &field);
        fits(&name).map_err(|why| {
            let way_out = "write it under process.env, with a name of its own";
            format!(
                "the field `{}` cannot be the variable `{}`, which {why}: {way_out}",
                short(&field),
                short(&name)
            )
        })?;
        if let Some(other) = named.insert(name.clone(), field.clone()) {
            let (one, other) = (short(&other), short(&field));
            return Err(format!(
                "the fields `{one}` and `{other}` would both be the variable `{}`",
                short(&name)
            ));
        }
        variables.insert(name, as_text(&value));
    }
    Ok(variables)
}

fn name(from: &EnvFrom, field: &str) -> String {
    let field: String = if from.sanitize {
        field.chars().map(|letter| if is_usual(letter) { letter } else { '_' }).collect()
    } else {
        field.to_owned()
    };
    let name = format!("{}{field}{}", from.prefix, from.suffix);
    if from.upper { name.to_uppercase() } else { name }
}

fn is_usual(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

fn fits(name: &str) -> Result<(), &'static str> {
    let begins = name.chars().next().is_some_and(|first| is_usual(first) && !first.is_ascii_digit());
    if !begins || !name.chars().all(is_usual) {
        return Err(
            "is no name: it has other characters than letters, digits and `_` (`sanitize = true` replaces them), or begins with a digit",
        );
    }
    if BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) || INTERPRETERS.contains(&name) {
        return Err("can choose what runs, so whoever may write the secret could");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Place;
    use crate::names::SecretName;

    fn from(prefix: &str, upper: bool, sanitize: bool) -> EnvFrom {
        let (secret, suffix, place) = (SecretName::new("app"), String::new(), Place::default());
        EnvFrom { secret, prefix: prefix.to_owned(), suffix, upper, sanitize, place }
    }

    fn made(from: &EnvFrom, fields: &Value) -> Result<Vec<String>, String> {
        let variables = variables(from, &Packed::of(fields.as_object().unwrap()))?;
        Ok(variables.iter().map(|(name, text)| format!("{name}={}", text.expose())).collect())
    }

    #[test]
    fn each_field_is_a_variable() {
        let fields = json!({"user": "ann", "port": 5432, "hosts": ["a"], "db.pass-word": "p'\n"});
        let expected = ["DB_DB_PASS_WORD=p'\n", "DB_HOSTS=[\"a\"]", "DB_PORT=5432", "DB_USER=ann"];
        assert_eq!(made(&from("db_", true, true), &fields).unwrap(), expected);
        assert_eq!(made(&from("", false, false), &json!({"A_1": null})).unwrap(), ["A_1=null"]);
        let suffixed = EnvFrom { suffix: "_V2".to_owned(), ..from("", false, false) };
        assert_eq!(made(&suffixed, &json!({"a": "x"})).unwrap(), ["a_V2=x"]);
    }

    #[test]
    fn a_name_that_is_none_or_that_chooses_what_runs_is_refused() {
        for (from, fields, why) in [
            (
                from("", false, false),
                json!({"a-b": "canary"}),
                "the field `a-b` cannot be the variable `a-b`, which is no name",
            ),
            (from("", false, false), json!({"1a": "canary"}), "is no name"),
            (from("", false, true), json!({"": "canary"}), "is no name"),
            (from("", false, false), json!({"a=b": "canary"}), "is no name"),
            (from("", false, false), json!({"LD_PRELOAD": "canary"}), "can choose what runs"),
            (from("", true, false), json!({"ld_audit": "canary"}), "can choose what runs"),
            (from("LD_", false, false), json!({"PRELOAD": "canary"}), "can choose what runs"),
            (from("", true, false), json!({"path": "canary"}), "can choose what runs"),
            (from("BASH_", false, false), json!({"ENV": "canary"}), "can choose what runs"),
            (from("", true, false), json!({"listen_fds": "canary"}), "can choose what runs"),
            (from("", false, false), json!({"NOTIFY_SOCKET": "canary"}), "can choose what runs"),
            (from("", true, false), json!({"home": "canary"}), "can choose what runs"),
            (from("", false, false), json!({"KRB5_CONFIG": "canary"}), "can choose what runs"),
            (from("", false, false), json!({"PYTHONPYCACHEPREFIX": "canary"}), "can choose what runs"),
            (from("", false, false), json!({"BASH_FUNC_ls%%": "canary"}), "is no name"),
            (from("", false, false), json!({"OPENSSL_CONF": "canary"}), "can choose what runs"),
            (from("", false, false), json!({"DOTNET_STARTUP_HOOKS": "canary"}), "can choose what runs"),
            (from("", true, true), json!({"git.config.count": "canary"}), "can choose what runs"),
            (
                from("", false, true),
                json!({"a-b": "canary", "a.b": "canary"}),
                "the fields `a-b` and `a.b` would both be the variable `a_b`",
            ),
        ] {
            let error = made(&from, &fields).unwrap_err();
            assert!(error.contains(why) && !error.contains("canary"), "{fields}: {error}");
        }
        let long = made(&from("", false, false), &json!({ "n-".repeat(100_000): "canary" })).unwrap_err();
        assert!(long.len() < 500, "{long}");
        assert!(made(&from("APP_", false, false), &json!({"PATH": "x", "LD_PRELOAD": "y"})).is_ok());
    }
}
