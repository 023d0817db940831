//! The export of traces, where Squire was built with it.

#[cfg(feature = "otlp")]
pub(super) use with::{Collector, Exporter, collector, open};
#[cfg(not(feature = "otlp"))]
pub(super) use without::{Collector, Exporter, collector, open};

#[cfg(feature = "otlp")]
mod with {
    use crate::fact::chain;
    pub(in crate::cli) use crate::otlp::exporter::Exporter;
    use crate::otlp::settings::Settings;

    /// Where traces go.
    pub(in crate::cli) type Collector = Settings;

    /// What the environment says of it, before the keys in it are forgotten.
    pub(in crate::cli) fn collector() -> Option<Collector> {
        let settings = Settings::of(&|name| std::env::var(name).ok());
        settings.unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "traces are not exported");
            None
        })
    }

    /// Without its collector an agent still does its work.
    pub(in crate::cli) fn open(collector: Collector) -> Option<Exporter> {
        let exporter = Exporter::start(collector);
        exporter.map_err(|error| tracing::warn!(error = chain(&error), "traces are not exported")).ok()
    }
}

#[cfg(not(feature = "otlp"))]
mod without {
    use crate::fact::Told;

    /// Nothing has this type.
    #[derive(Clone, Copy)]
    pub(in crate::cli) enum Collector {}

    /// Whoever asks for traces is told that there will be none.
    pub(in crate::cli) fn collector() -> Option<Collector> {
        const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
        let is = |name, word: &str| std::env::var(name).is_ok_and(|text| text.eq_ignore_ascii_case(word));
        let is_off = is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none");
        let set =
            ENDPOINTS.into_iter().find(|name| std::env::var_os(name).is_some_and(|text| !text.is_empty()));
        if let Some(variable) = set.filter(|_| !is_off) {
            tracing::warn!(variable, "ignored: squire was built without the feature otlp");
        }
        None
    }

    /// Nothing has this type.
    pub(in crate::cli) enum Exporter {}

    pub(in crate::cli) fn open(collector: Collector) -> Option<Exporter> {
        match collector {}
    }

    impl Exporter {
        pub(in crate::cli) fn tell(&mut self, _told: &Told) {
            match *self {}
        }

        #[expect(clippy::unused_async, reason = "the real one waits for its collector")]
        pub(in crate::cli) async fn close(self) {
            match self {}
        }
    }
}
