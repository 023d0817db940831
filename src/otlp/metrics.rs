//! The metrics in OTLP's form: the same families that a scrape gets, under the names that they have before the text form adds `_total`.
//!
//! *Invariants:* pure. Sums and histograms count from the beginning of this run (cumulative), so what one request loses the next one has.

use std::time::SystemTime;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    number_data_point::Value as Number,
};
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as model;

use super::{attribute, nanos, text};

/// From when to when something was counted, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Period {
    since: u64,
    at: u64,
}

/// All metrics of these families, counted from `since` to `at`.
pub(super) fn metrics(
    families: impl IntoIterator<Item = model::MetricFamily>,
    since: SystemTime,
    at: SystemTime,
) -> Vec<Metric> {
    let period = Period { since: nanos(since), at: nanos(at) };
    families.into_iter().filter_map(|family| metric(family, period)).collect()
}

/// `None` for a family without any series.
fn metric(family: model::MetricFamily, period: Period) -> Option<Metric> {
    let (mut sums, mut gauges, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    for series in family.metric {
        let labels = series.label.iter();
        let attributes = labels.map(|label| attribute(&label.name, text(label.value.as_str()))).collect();
        match (series.counter, series.gauge, series.histogram) {
            (Some(counter), ..) => sums.push(sum(attributes, counter.value, period)),
            (_, Some(value), _) => gauges.push(gauge(attributes, value.value, period)),
            (.., Some(value)) => histograms.push(histogram(attributes, &value, period)),
            // Squire has no other kinds; a test compares with what a scrape gets.
            (None, None, None) => {}
        }
    }
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    // All series of a family are of one kind.
    let data = if !sums.is_empty() {
        Data::Sum(Sum { data_points: sums, aggregation_temporality, is_monotonic: true })
    } else if !gauges.is_empty() {
        Data::Gauge(Gauge { data_points: gauges })
    } else if !histograms.is_empty() {
        Data::Histogram(Histogram { data_points: histograms, aggregation_temporality })
    } else {
        return None;
    };
    let name = family.name.strip_suffix("_total").unwrap_or(&family.name).to_owned();
    Some(Metric { name, description: family.help, data: Some(data), ..Metric::default() })
}

fn sum(attributes: Vec<KeyValue>, value: f64, Period { since, at }: Period) -> NumberDataPoint {
    NumberDataPoint { start_time_unix_nano: since, ..gauge(attributes, value, Period { since, at }) }
}

/// A gauge says how something is, and counts from no time.
fn gauge(attributes: Vec<KeyValue>, value: f64, Period { at, .. }: Period) -> NumberDataPoint {
    let value = Some(Number::AsDouble(value));
    NumberDataPoint { attributes, time_unix_nano: at, value, ..NumberDataPoint::default() }
}

/// Prometheus counts in each bucket what is in those before it, too; OTLP does not, and has no bound for the last one, which has no end.
fn histogram(
    attributes: Vec<KeyValue>,
    value: &model::Histogram,
    Period { since, at }: Period,
) -> HistogramDataPoint {
    let bounds = value.bucket.iter().map(|bucket| bucket.upper_bound);
    let before = [0].into_iter().chain(value.bucket.iter().map(|bucket| bucket.cumulative_count));
    let counts = value.bucket.iter().zip(before);
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: since,
        time_unix_nano: at,
        count: value.sample_count,
        sum: Some(value.sample_sum),
        bucket_counts: counts
            .map(|(bucket, before)| bucket.cumulative_count.saturating_sub(before))
            .collect(),
        explicit_bounds: bounds.filter(|bound| *bound < f64::MAX).collect(),
        ..HistogramDataPoint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, UNIX_EPOCH};

    use prometheus_client::encoding::prometheus_protobuf::encode;
    use prometheus_client::encoding::prometheus_text;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge as GaugeOf;
    use prometheus_client::metrics::histogram::Histogram as HistogramOf;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::fact::metrics::{Counters, PREFIX};

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn of(registry: &Registry) -> BTreeMap<String, Data> {
        let metrics = metrics(encode(registry).unwrap(), at(1), at(2));
        metrics.into_iter().map(|metric| (metric.name, metric.data.unwrap())).collect()
    }

    #[test]
    fn what_is_counted_has_a_beginning_and_each_bucket_has_its_own_count() {
        let mut registry = Registry::with_prefix("s");
        let (counts, times) = (Family::<Vec<(String, String)>, Counter>::default(), [0.1, 1.0, 9.0]);
        counts.get_or_create(&vec![("kind".to_owned(), "login".to_owned())]).inc_by(3);
        counts.get_or_create(&vec![("kind".to_owned(), "fetch".to_owned())]).inc();
        registry.register("asked", "", counts);
        let gauge = GaugeOf::<i64>::default();
        gauge.set(-4);
        registry.register("left", "", gauge);
        let histogram = HistogramOf::new([1.0, 5.0]);
        for time in times {
            histogram.observe(time);
        }
        registry.register("took", "", histogram);
        let mut data = of(&registry);

        let Some(Data::Sum(mut asked)) = data.remove("s_asked") else { panic!("{data:?}") };
        asked.data_points.sort_by_key(|point| format!("{:?}", point.attributes));
        let points = asked.data_points.iter();
        let points: Vec<_> = points.map(|point| (point.start_time_unix_nano, point.value)).collect();
        let began = 1_000_000_000;
        assert_eq!(points, [(began, Some(Number::AsDouble(1.0))), (began, Some(Number::AsDouble(3.0)))]);
        assert_eq!(asked.data_points[1].attributes, [attribute("kind", text("login"))]);
        assert!(asked.is_monotonic && asked.aggregation_temporality == 2, "{asked:?}");
        let Some(Data::Gauge(left)) = data.remove("s_left") else { panic!("{data:?}") };
        assert_eq!(left.data_points[0].value, Some(Number::AsDouble(-4.0)));
        let Some(Data::Histogram(took)) = data.remove("s_took") else { panic!("{data:?}") };
        let point = &took.data_points[0];
        assert_eq!((point.count, &*point.bucket_counts), (3, &[2, 0, 1][..]), "{point:?}");
        assert_eq!((&*point.explicit_bounds, point.sum), (&[1.0, 5.0][..], Some(10.1)), "{point:?}");
        assert_eq!(data, BTreeMap::new());
    }

    #[test]
    fn every_series_of_a_scrape_is_there() {
        let mut registry = Registry::with_prefix(PREFIX);
        drop(Counters::new(&mut registry));
        let mut scrape = String::new();
        prometheus_text::encode(&mut scrape, &registry).unwrap();
        let count = |data: &Data| match data {
            Data::Sum(sum) => sum.data_points.len(),
            Data::Gauge(gauge) => gauge.data_points.len(),
            Data::Histogram(histogram) => histogram.data_points.len(),
            Data::ExponentialHistogram(_) | Data::Summary(_) => panic!("nobody makes {data:?}"),
        };
        let counts: BTreeMap<_, _> =
            of(&registry).iter().map(|(name, data)| (name.clone(), count(data))).collect();
        let series = scrape.lines().filter(|line| !line.starts_with('#'));
        let names = series.filter_map(|line| line.split(['{', ' ']).next());
        // A histogram has many lines, of which one is its sum.
        let names = names.filter(|name| !name.ends_with("_bucket") && !name.ends_with("_count"));
        let names = names.map(|name| name.trim_end_matches("_total").trim_end_matches("_sum").to_owned());
        let expected = names.fold(BTreeMap::new(), |mut counts, name| {
            *counts.entry(name).or_insert(0) += 1;
            counts
        });
        assert_eq!(counts, expected, "{scrape}");
        assert!(counts.len() > 5, "{counts:?}");
    }
}
