//! The symlinks that a path leads through. Whoever can exchange one of them decides where the path leads.
//!
//! *Invariant:* only looks. It may wait for a file system that hangs, so the agent calls it through [`files::within`](crate::files::within).

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The kernel follows this many symlinks in one path.
const MOST: usize = 40;

/// Each symlink on the way to this path, the path's own end included: by the real path of its directory, in the order in which they are
/// followed. The parts of the path that are missing have none.
///
/// # Errors
/// If the path is relative and there is no working directory.
pub fn on_the_way(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut links = Vec::new();
    let mut from = PathBuf::new();
    let mut rest = std::path::absolute(path)?;
    while links.len() < MOST {
        let Some((directory, link, target, behind)) = first(&from, &rest) else { break };
        links.push(link);
        from = directory;
        rest = target.join(behind);
    }
    Ok(links)
}

/// The first symlink of a path that is followed from a real directory: its directory, the link, its target, and the path behind it.
fn first(from: &Path, path: &Path) -> Option<(PathBuf, PathBuf, PathBuf, PathBuf)> {
    let mut at = from.to_owned();
    let mut components = path.components();
    while let Some(component) = components.next() {
        match component {
            Component::ParentDir => drop(at.pop()),
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {
                let next = at.join(component);
                if let Ok(target) = fs::read_link(&next) {
                    return Some((at, next, target, components.as_path().to_owned()));
                }
                at = next;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_is_found_in_the_order_of_the_way() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for directory in ["real/deep", "other", "second"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("real/deep/token"), "x").unwrap();
        symlink("real", root.join("link")).unwrap();
        symlink(root.join("link/deep"), root.join("other/deep")).unwrap();
        symlink("../other/deep/../deep/token", root.join("second/token")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let found = |path: &str| -> Vec<PathBuf> {
            let links = on_the_way(&root.join(path)).unwrap();
            links.iter().map(|link| link.strip_prefix(&root).unwrap().to_owned()).collect()
        };
        for (path, expected) in [
            ("real/deep/token", &[][..]),
            ("link/deep/token", &["link"]),
            ("other/deep/token", &["other/deep", "link"]),
            ("second/token", &["second/token", "other/deep", "link"]),
            ("nothing/token", &[]),
        ] {
            assert_eq!(found(path), expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{path}");
        }
        assert_eq!(found("loop/token").len(), MOST);
    }
}
