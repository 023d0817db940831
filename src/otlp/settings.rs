//! The variables of OpenTelemetry that say where traces and metrics go.
//!
//! *Invariants:* pure; no error quotes a value, since people write passwords into addresses. Without an endpoint nothing is exported: the
//! specification's default, a collector on this machine, would be asked by everybody who has none.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::config::{Authorities, Environment};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Metrics are sent so often.
const INTERVAL: Duration = Duration::from_mins(1);

const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
const EVERY: &str = "OTEL_METRIC_EXPORT_INTERVAL";

/// A kind of what is sent: its path, and the variables that are for it alone.
#[derive(Clone, Copy, Debug)]
struct Signal {
    path: &'static str,
    exporter: &'static str,
    endpoint: &'static str,
    protocol: &'static str,
    timeout: &'static str,
    certificate: &'static str,
    headers: &'static str,
}

const TRACES: Signal = Signal {
    path: "/v1/traces",
    exporter: "OTEL_TRACES_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    timeout: "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    certificate: "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    headers: "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
};

const METRICS: Signal = Signal {
    path: "/v1/metrics",
    exporter: "OTEL_METRICS_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    timeout: "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    certificate: "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
    headers: "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
};

/// Where something goes, and as whose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address, whole.
    pub(super) endpoint: Uri,
    /// With them, marked as sensitive.
    pub(super) headers: HeaderMap,
    /// For one request.
    pub(super) timeout: Duration,
    /// Who may be the collector.
    pub(super) authorities: Authorities,
    /// The attributes of this service.
    pub(super) resource: Vec<(String, String)>,
}

/// Why nothing is exported although somebody asked for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The endpoint is no address.
    #[error("{0} is no address: write http://host:port or https://host:port, without a login")]
    Endpoint(&'static str),
    /// Another protocol.
    #[error("{0} asks for another protocol than http/protobuf, the only one that squire speaks")]
    Protocol(&'static str),
    /// No headers.
    #[error("{0} is no list of headers: write name=value,name=value, with values percent-encoded")]
    Headers(&'static str),
    /// No number.
    #[error("{0} is no number of milliseconds above zero")]
    Millis(&'static str),
    /// No attributes.
    #[error("{0} is no list of attributes: write name=value,name=value, with values percent-encoded")]
    Attributes(&'static str),
    /// Differences instead of sums.
    #[error("{0} asks for another temporality than cumulative, the only one that squire has")]
    Temporality(&'static str),
}

impl Settings {
    /// What the environment asks for traces; `None` if for nothing.
    pub fn traces(environment: Environment<'_>) -> Result<Option<Self>, SettingsError> {
        Self::of(TRACES, environment)
    }

    /// What it asks for metrics, and how often they are sent.
    pub fn metrics(environment: Environment<'_>) -> Result<Option<(Self, Duration)>, SettingsError> {
        let Some(settings) = Self::of(METRICS, environment)? else { return Ok(None) };
        let variable = |name| environment(name).filter(|text| !text.is_empty());
        if variable(TEMPORALITY).is_some_and(|text| !text.eq_ignore_ascii_case("cumulative")) {
            return Err(SettingsError::Temporality(TEMPORALITY));
        }
        let every = variable(EVERY).map_or(Ok(INTERVAL), |text| millis(EVERY, &text))?;
        Ok(Some((settings, every)))
    }

    fn of(signal: Signal, environment: Environment<'_>) -> Result<Option<Self>, SettingsError> {
        let variable =
            |name: &'static str| Some((name, environment(name)?)).filter(|(_, text)| !text.is_empty());
        let is = |name, word: &str| variable(name).is_some_and(|(_, text)| text.eq_ignore_ascii_case(word));
        if is("OTEL_SDK_DISABLED", "true") || variable(signal.exporter).is_some_and(is_another) {
            return Ok(None);
        }
        let of_all =
            |(name, text): (_, String)| (name, format!("{}{}", text.trim_end_matches('/'), signal.path));
        let endpoint =
            variable(signal.endpoint).or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(of_all));
        let Some((name, endpoint)) = endpoint else { return Ok(None) };
        let either = |own, shared| variable(own).or_else(|| variable(shared));
        if let Some((name, protocol)) = either(signal.protocol, "OTEL_EXPORTER_OTLP_PROTOCOL")
            && protocol != "http/protobuf"
        {
            return Err(SettingsError::Protocol(name));
        }
        let timeout = either(signal.timeout, "OTEL_EXPORTER_OTLP_TIMEOUT");
        let certificate = either(signal.certificate, "OTEL_EXPORTER_OTLP_CERTIFICATE");
        let headers = either(signal.headers, "OTEL_EXPORTER_OTLP_HEADERS");
        Ok(Some(Self {
            endpoint: address(name, &endpoint)?,
            headers: headers.map_or(Ok(HeaderMap::new()), |(name, text)| read_headers(name, &text))?,
            timeout: timeout.map_or(Ok(TIMEOUT), |(name, text)| millis(name, &text))?,
            authorities: certificate
                .map_or(Authorities::System, |(_, file)| Authorities::File(PathBuf::from(file))),
            resource: resource(
                variable("OTEL_SERVICE_NAME").map(|(_, name)| name),
                variable("OTEL_RESOURCE_ATTRIBUTES"),
            )?,
        }))
    }
}

/// A list of exporters without ours: `none`, or one that others know.
fn is_another((_, exporters): (&str, String)) -> bool {
    !exporters.split(',').any(|exporter| exporter.trim() == "otlp")
}

fn address(name: &'static str, text: &str) -> Result<Uri, SettingsError> {
    let uri = text.parse::<Uri>().ok();
    let is_good = |uri: &Uri| {
        let has_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_place =
            uri.authority().is_some_and(|place| !place.host().is_empty() && !place.as_str().contains('@'));
        has_scheme && has_place
    };
    uri.filter(is_good).ok_or(SettingsError::Endpoint(name))
}

fn millis(name: &'static str, text: &str) -> Result<Duration, SettingsError> {
    let millis = text.trim().parse().ok().filter(|millis| *millis > 0);
    millis.map(Duration::from_millis).ok_or(SettingsError::Millis(name))
}

/// `name=value,name=value`, with the values percent-encoded; `None` if it is not that.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((name.trim().to_owned(), value.into_owned()))
    };
    parts.map(pair).collect()
}

fn read_headers(name: &'static str, text: &str) -> Result<HeaderMap, SettingsError> {
    let header = |(name, value): (String, String)| {
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::try_from(name).ok()?, value))
    };
    let headers = pairs(text).and_then(|pairs| pairs.into_iter().map(header).collect());
    headers.ok_or(SettingsError::Headers(name))
}

fn resource(
    service: Option<String>,
    attributes: Option<(&'static str, String)>,
) -> Result<Vec<(String, String)>, SettingsError> {
    let mut attributes = match attributes {
        Some((name, text)) => pairs(&text).ok_or(SettingsError::Attributes(name))?,
        None => Vec::new(),
    };
    let is_name = |(key, _): &(String, String)| key == "service.name";
    match service {
        Some(service) => {
            attributes.retain(|attribute| !is_name(attribute));
            attributes.insert(0, ("service.name".to_owned(), service));
        }
        None if attributes.iter().any(is_name) => {}
        None => attributes.insert(0, ("service.name".to_owned(), "squire".to_owned())),
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)], name: &str) -> Option<String> {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    }

    fn of(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
        Settings::traces(&|name| find(variables, name))
    }

    fn of_metrics(variables: &[(&str, &str)]) -> Result<Option<(Settings, Duration)>, SettingsError> {
        Settings::metrics(&|name| find(variables, name))
    }

    const SHARED: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/");
    const OWN: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector/some/path");

    #[test]
    fn the_endpoint_of_traces_is_used_as_it_is_and_the_shared_one_gets_their_path() {
        let endpoint = |variables: &[_]| of(variables).unwrap().map(|settings| settings.endpoint.to_string());
        assert_eq!(endpoint(&[SHARED]).as_deref(), Some("http://127.0.0.1:4318/v1/traces"));
        assert_eq!(endpoint(&[SHARED, OWN]).as_deref(), Some("https://collector/some/path"));
        let off = [
            ("OTEL_SDK_DISABLED", "TRUE"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
        ];
        for off in off {
            assert_eq!(endpoint(&[SHARED, off]), None, "{off:?}");
        }
        assert_eq!(endpoint(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=b")]), None, "nobody asked for it");
        assert!(endpoint(&[SHARED, ("OTEL_TRACES_EXPORTER", "console,otlp")]).is_some());
    }

    #[test]
    fn metrics_have_their_own_endpoint_and_interval_and_can_be_turned_off_alone() {
        let (settings, every) = of_metrics(&[SHARED]).unwrap().unwrap();
        assert_eq!((settings.endpoint.path(), every), ("/v1/metrics", Duration::from_mins(1)));
        let often = of_metrics(&[SHARED, ("OTEL_METRIC_EXPORT_INTERVAL", "250")]).unwrap().unwrap();
        assert_eq!(often.1, Duration::from_millis(250));
        let off = [SHARED, ("OTEL_METRICS_EXPORTER", "none")];
        assert!(of_metrics(&off).unwrap().is_none() && of(&off).unwrap().is_some());
        assert!(of_metrics(&[OWN]).unwrap().is_none(), "that is for traces");
        for (name, value) in
            [(TEMPORALITY, "delta"), (TEMPORALITY, "lowmemory"), (EVERY, "0"), (EVERY, "1 min")]
        {
            let error = of_metrics(&[SHARED, (name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
        assert!(of_metrics(&[SHARED, (TEMPORALITY, "Cumulative")]).unwrap().is_some());
    }

    #[test]
    fn headers_are_decoded_and_sensitive_and_no_error_quotes_one() {
        let given = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20canary, x-tenant = a");
        let headers = of(&[SHARED, given]).unwrap().unwrap().headers;
        assert_eq!(
            (&headers["authorization"], &headers["x-tenant"]),
            (&"Bearer canary".parse().unwrap(), &"a".parse().unwrap())
        );
        assert!(headers.values().all(HeaderValue::is_sensitive));
        let bad = [
            ("OTEL_EXPORTER_OTLP_HEADERS", "canary"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=canary%0d%0ax: y"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "can ary=b"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:canary@collector"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "canary:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "canary"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "canary"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_RESOURCE_ATTRIBUTES", "canary"),
        ];
        for (name, value) in bad {
            let error = of(&[(name, value), SHARED]).expect_err(value).to_string();
            assert!(error.starts_with(name) && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn the_service_has_the_name_that_it_was_given_last() {
        let name = |variables: &[_]| {
            let resource = of(&[&[SHARED], variables].concat()).unwrap().unwrap().resource;
            resource.into_iter().find(|(key, _)| key == "service.name").unwrap().1
        };
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop%20a,k=v");
        assert_eq!(name(&[]), "squire");
        assert_eq!(name(&[attributes]), "shop a");
        assert_eq!(name(&[attributes, ("OTEL_SERVICE_NAME", "web")]), "web");
    }
}
