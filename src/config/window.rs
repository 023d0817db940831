//! `rollout.window`: the quiet hours in which rollouts may happen.
//!
//! *Invariant:* pure; the wall clock is an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::reader::{Value, every};
use super::value::Form;

const MINUTES_A_DAY: u64 = 24 * 60;
const MINUTES_A_WEEK: u64 = 7 * MINUTES_A_DAY;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The hours of a week, in UTC, in which rollouts may happen: any of the spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window(Vec<Span>);

/// From one minute of a day to another; if that is not later, it is on the next day. The days are those on which it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    /// Monday first.
    days: [bool; 7],
    from: u64,
    to: u64,
}

/// Whether rollouts may happen, and for how long that stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// They may.
    pub is_open: bool,
    /// The time until that changes; `None` is for ever.
    pub lasts: Option<Duration>,
}

impl Window {
    /// The hours of all these spans.
    ///
    /// # Errors
    /// What is wrong with a span, as a predicate.
    pub fn parse(spans: &[String]) -> Result<Self, String> {
        let read = |text: &String| (SPAN.read)(text).map_err(|why| format!("{text:?} {why}"));
        spans.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether rollouts may happen at this time of the wall clock.
    pub fn at(&self, now: SystemTime) -> Opening {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // 1 January 1970 was a Thursday.
        let minute = (since.as_secs() / 60 + 3 * MINUTES_A_DAY) % MINUTES_A_WEEK;
        let is_open = self.is_open(minute);
        let change = (1..=MINUTES_A_WEEK).find(|ahead| self.is_open(minute + ahead) != is_open);
        let into_minute =
            Duration::from_secs(since.as_secs() % 60) + Duration::from_nanos(since.subsec_nanos().into());
        Opening { is_open, lasts: change.map(|ahead| Duration::from_mins(ahead).saturating_sub(into_minute)) }
    }

    fn is_open(&self, minute: u64) -> bool {
        self.0.iter().any(|span| span.holds(minute % MINUTES_A_WEEK))
    }
}

impl Span {
    fn holds(&self, minute: u64) -> bool {
        let (day, time) = (minute / MINUTES_A_DAY, minute % MINUTES_A_DAY);
        let on = |day: u64| self.days.iter().zip(0..).any(|(is_on, number)| *is_on && number == day % 7);
        if self.from < self.to {
            on(day) && (self.from..self.to).contains(&time)
        } else {
            (on(day) && time >= self.from) || (on(day + 6) && time < self.to)
        }
    }
}

/// Reads one span, or a list of them.
pub(super) fn window(value: &Value<'_>) -> Option<Window> {
    if value.is_text() {
        return value.read(&SPAN).map(|span| Window(vec![span]));
    }
    let items = value.list("a window such as \"Mon-Fri 02:00-04:00 UTC\", or a list of them")?;
    if items.is_empty() {
        value.report("would never open; write a window such as \"Mon-Fri 02:00-04:00 UTC\", or leave it out");
        return None;
    }
    every(items.iter().map(|item| item.read(&SPAN))).map(Window)
}

const SPAN: Form<Span> = Form {
    expected: "a window in quotes, such as \"Mon-Fri 02:00-04:00 UTC\"",
    shown: true,
    read: |text| {
        span(text).ok_or_else(|| {
            "is no window; write days, if not all, hours and UTC: \"Mon-Fri 02:00-04:00 UTC\", \"Sat,Sun 22:00-06:00 UTC\", \
             \"03:00-04:00 UTC\""
                .to_owned()
        })
    },
};

fn span(text: &str) -> Option<Span> {
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let (days, hours) = match words.as_slice() {
        [days, hours, "UTC"] => (self::days(days)?, hours),
        [hours, "UTC"] => ([true; 7], hours),
        _ => return None,
    };
    let (from, to) = hours.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from != to && from < MINUTES_A_DAY).then_some(Span { days, from, to })
}

/// `Mon-Fri`, `Sat,Sun`, `Fri-Mon`.
fn days(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        for ahead in 0..=(last + 7 - first) % 7 {
            *days.get_mut((first + ahead) % 7)? = true;
        }
    }
    Some(days)
}

/// `02:00`; `24:00` is the end of a day.
fn minute(text: &str) -> Option<u64> {
    let (hour, minute) = text.split_once(':')?;
    let is_two_digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_two_digits(hour) || !is_two_digits(minute) {
        return None;
    }
    let (hour, minute): (u64, u64) = (hour.parse().ok()?, minute.parse().ok()?);
    let sum = hour * 60 + minute;
    (minute < 60 && sum <= MINUTES_A_DAY).then_some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-23 was a Monday.
    fn monday(day: u64, hour: u64, minute: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_392_000 + ((day * 24 + hour) * 60 + minute) * 60)
    }

    fn window(text: &str) -> Window {
        Window(text.split(';').map(|text| span(text).unwrap()).collect())
    }

    #[test]
    fn a_window_is_open_in_its_hours_and_says_for_how_long() {
        let hours = |hours| Some(Duration::from_hours(hours));
        let table = [
            ("Mon-Fri 02:00-04:00 UTC", (0, 2, 0), true, hours(2)),
            ("Mon-Fri 02:00-04:00 UTC", (0, 4, 0), false, hours(22)),
            ("Mon-Fri 02:00-04:00 UTC", (5, 3, 0), false, hours(47)),
            ("Sun 22:00-06:00 UTC", (7, 5, 0), true, hours(1)),
            ("Sun 22:00-06:00 UTC", (0, 23, 0), false, hours(143)),
            ("Fri-Mon 00:00-24:00 UTC", (0, 1, 0), true, hours(23)),
            ("03:00-04:00 UTC", (3, 3, 0), true, hours(1)),
            ("00:00-24:00 UTC", (3, 3, 0), true, None),
            ("Sat,Sun 01:00-02:00 UTC;Wed 01:00-02:00 UTC", (0, 1, 0), false, hours(48)),
        ];
        for (text, (day, hour, minute), is_open, lasts) in table {
            assert_eq!(
                window(text).at(monday(day, hour, minute)),
                Opening { is_open, lasts },
                "{text} {day} {hour}"
            );
        }
    }

    #[test]
    fn what_is_no_window() {
        for text in [
            "",
            "UTC",
            "02:00-04:00",
            "02:00-04:00 CET",
            "Mon 02:00 UTC",
            "Mo 02:00-04:00 UTC",
            "Mon- 02:00-04:00 UTC",
            "2:00-4:00 UTC",
            "02:00-02:00 UTC",
            "02:60-04:00 UTC",
            "24:00-02:00 UTC",
            "02:00-24:01 UTC",
            "Mon Tue 02:00-04:00 UTC",
        ] {
            assert_eq!(span(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn until_it_ends_nothing_changes_and_then_it_does(
            start in 0..MINUTES_A_WEEK, days in prop::array::uniform7(any::<bool>()), from in 0..MINUTES_A_DAY, to in 0..MINUTES_A_DAY,
        ) {
            prop_assume!(from != to);
            let window = Window(vec![Span { days, from, to }]);
            let opening = window.at(monday(0, 0, start));
            // Computed once for the whole week: each answer of the window may walk a week itself.
            let ahead = |minutes| window.is_open(start + minutes);
            match opening.lasts {
                None => prop_assert!((0..MINUTES_A_WEEK).all(|minutes| ahead(minutes) == opening.is_open)),
                Some(lasts) => {
                    let minutes = lasts.as_secs() / 60;
                    prop_assert!((0..minutes).all(|minutes| ahead(minutes) == opening.is_open));
                    prop_assert!(ahead(minutes) != opening.is_open);
                }
            }
        }
    }
}
