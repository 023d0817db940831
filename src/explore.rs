//! Explores every state that a machine can reach, with every event that may happen on the way, and not only random ones.
//!
//! A [`World`] is a machine together with the surroundings that decide what may happen next. [`explore`] tries every event in every world,
//! breadth first, so that the first fault is found on a shortest path. Two worlds are the same if they print the same, with every time
//! relative to now.
//!
//! `SQUIRE_EXPLORE=N` explores N times as many worlds as a usual run.

use std::collections::HashSet;
use std::fmt::{self, Debug, Write as _};
use std::time::{Duration, Instant};

/// A machine and its surroundings.
pub(crate) trait World: Clone {
    /// The names of all events that may happen now. They are readable text.
    fn possible(&self) -> Vec<String>;

    /// Lets one of these events happen.
    ///
    /// # Errors
    /// The invariant that is violated.
    fn happen(&mut self, event: &str) -> Result<(), String>;

    /// The text that tells this world from others, with times printed by [`Told`].
    fn told(&self) -> String;

    /// The next event if everything goes well; `None` if all is done.
    fn next_if_all_is_well(&self) -> Option<String>;

    /// Checks what has to be true when all is done.
    ///
    /// # Errors
    /// What is not true.
    fn rests(&self) -> Result<(), String>;
}

/// What an exploration has visited.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) worlds: usize,
    pub(crate) steps: usize,
    pub(crate) depth: usize,
    /// Every reachable world was visited.
    pub(crate) is_all: bool,
}

/// A shortest path to a fault.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) way: Vec<String>,
    pub(crate) why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after {}", self.why, self.way.join(", "))
    }
}

/// The longest sequence of events that go well before all has to be done.
const LONGEST_REST: usize = 300;

/// Visits at most this many worlds, or a multiple of it if `SQUIRE_EXPLORE` asks for that.
pub(crate) fn explore<W: World>(name: &str, start: W, most: usize) -> Result<Seen, Wrong> {
    let times = std::env::var("SQUIRE_EXPLORE").ok().and_then(|text| text.parse::<usize>().ok());
    let began = Instant::now();
    let seen = Explorer { ways: vec![(0, String::new())], ..Explorer::default() }
        .explore(start, most * times.unwrap_or(1))?;
    let Seen { worlds, steps, depth, is_all } = seen;
    let more = if is_all { "and there are no others" } else { "and there are more" };
    println!(
        "explored {name}: {worlds} worlds {depth} deep by {steps} steps in {:.1} s, {more}",
        began.elapsed().as_secs_f64()
    );
    Ok(seen)
}

/// How each world was reached: from which other world, by which event.
#[derive(Default)]
struct Explorer {
    met: HashSet<u128>,
    ways: Vec<(usize, String)>,
    /// Worlds from which all is done in the end, if everything goes well.
    restful: HashSet<u128>,
    steps: usize,
}

impl Explorer {
    fn explore<W: World>(mut self, start: W, most: usize) -> Result<Seen, Wrong> {
        self.met.insert(digest(&start));
        let (mut here, mut depth) = (vec![(0, start)], 0);
        while !here.is_empty() && self.met.len() < most {
            let mut next = Vec::new();
            for (at, world) in here {
                if self.met.len() >= most {
                    return Ok(Seen { worlds: self.met.len(), steps: self.steps, depth, is_all: false });
                }
                for event in world.possible() {
                    self.steps += 1;
                    let mut other = world.clone();
                    other.happen(&event).map_err(|why| self.wrong(at, &event, &[], why))?;
                    if !self.met.insert(digest(&other)) {
                        continue;
                    }
                    self.rest(at, &event, other.clone())?;
                    next.push((self.ways.len(), other));
                    self.ways.push((at, event));
                }
            }
            (here, depth) = (next, depth + 1);
        }
        Ok(Seen { worlds: self.met.len(), steps: self.steps, depth, is_all: here.is_empty() })
    }

    /// Checks that from this world all is done in the end, if everything goes well from now on.
    fn rest<W: World>(&mut self, at: usize, event: &str, mut world: W) -> Result<(), Wrong> {
        let (mut way, mut on_it) = (Vec::new(), Vec::new());
        loop {
            let digest = digest(&world);
            if self.restful.contains(&digest) {
                break;
            }
            on_it.push(digest);
            let Some(next) = world.next_if_all_is_well() else {
                world.rests().map_err(|why| self.wrong(at, event, &way, why))?;
                break;
            };
            way.push(next);
            if way.len() > LONGEST_REST {
                return Err(self.wrong(at, event, &way[..20], "it never comes to rest".to_owned()));
            }
            self.steps += 1;
            world.happen(&way[way.len() - 1]).map_err(|why| self.wrong(at, event, &way, why))?;
        }
        self.restful.extend(on_it);
        Ok(())
    }

    fn wrong(&self, mut at: usize, event: &str, more: &[String], why: String) -> Wrong {
        let mut way: Vec<_> = more.iter().rev().cloned().chain([event.to_owned()]).collect();
        while at != 0 {
            way.push(self.ways[at].1.clone());
            at = self.ways[at].0;
        }
        way.reverse();
        Wrong { way, why }
    }
}

fn digest<W: World>(world: &W) -> u128 {
    let hash = blake3::hash(world.told().as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().unwrap();
    u128::from_le_bytes(*first)
}

/// Prints a value, with each instant as its distance from now. All instants further back than `memory` print the same.
pub(crate) struct Told<'a, T> {
    pub(crate) what: &'a T,
    pub(crate) now: Instant,
    pub(crate) memory: Duration,
}

impl<T: Debug> fmt::Display for Told<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(4096);
        write!(text, "{:?}", self.what)?;
        let now = instants(&format!("{:?}", self.now)).next().map_or(0, |(_, _, at)| at);
        let mut from = 0;
        for (start, end, at) in instants(&text) {
            let apart = (at - now).max(-i128::try_from(self.memory.as_nanos()).unwrap_or(i128::MAX));
            write!(f, "{}{apart}", &text[from..start])?;
            from = end;
        }
        f.write_str(&text[from..])
    }
}

/// The places of instants in a text, each with the instant in nanoseconds.
fn instants(text: &str) -> impl Iterator<Item = (usize, usize, i128)> {
    const BEGINNING: &str = "Instant { tv_sec: ";
    text.match_indices(BEGINNING).filter_map(|(start, _)| {
        let rest = &text[start + BEGINNING.len()..];
        let (seconds, rest_of) = rest.split_once(", tv_nsec: ")?;
        let (nanos, after) = rest_of.split_once(" }")?;
        let at = seconds.parse::<i128>().ok()? * 1_000_000_000 + nanos.parse::<i128>().ok()?;
        Some((start, text.len() - after.len(), at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lamp with three switches that are off. It has a fault: it breaks when the second switch is on without the first.
    #[derive(Clone, Debug, Default)]
    struct Lamp([bool; 3]);

    impl World for Lamp {
        fn possible(&self) -> Vec<String> {
            (0..3).map(|switch| format!("switch {switch}")).collect()
        }

        fn happen(&mut self, event: &str) -> Result<(), String> {
            let switch: usize = event.split_once(' ').unwrap().1.parse().unwrap();
            self.0[switch] = !self.0[switch];
            if self.0 == [false, true, true] { Err("it broke".to_owned()) } else { Ok(()) }
        }

        fn told(&self) -> String {
            format!("{self:?}")
        }

        fn next_if_all_is_well(&self) -> Option<String> {
            None
        }

        fn rests(&self) -> Result<(), String> {
            if self.0 == [true; 3] { Err("it is too bright".to_owned()) } else { Ok(()) }
        }
    }

    #[test]
    fn a_planted_fault_is_found_on_a_shortest_way() {
        let wrong = explore("a lamp", Lamp::default(), 1000).unwrap_err();
        assert_eq!(wrong.to_string(), "it broke, after switch 1, switch 2");
        let wrong = explore("a lamp that is on", Lamp([true, false, false]), 1000).unwrap_err();
        assert_eq!(wrong.to_string(), "it is too bright, after switch 1, switch 2");
    }

    #[test]
    fn the_same_a_while_later_is_the_same_world() {
        let now = Instant::now();
        let told = |what: (Instant, &str), now| {
            Told { what: &what, now, memory: Duration::from_mins(1) }.to_string()
        };
        let later = now + Duration::from_millis(1_234_567);
        assert_eq!(told((now + Duration::from_secs(1), "a"), now), "(1000000000, \"a\")");
        assert_eq!(
            told((later + Duration::from_secs(1), "a"), later),
            told((now + Duration::from_secs(1), "a"), now)
        );
        assert_eq!(told((now, "a"), later), told((now, "a"), later + Duration::from_secs(9)));
    }
}
