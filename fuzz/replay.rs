//! Gives a target the seeds that are kept: a module of the tests of each package that is fuzzed.

use std::path::Path;

/// Runs the target with each of its seeds (`fuzz/seeds/<target>`).
pub(super) fn replay(target: &str, run: impl Fn(&[u8])) {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let folder = packages.map(|package| package.join("fuzz/seeds").join(target)).find(|folder| folder.is_dir());
    let folder = folder.unwrap_or_else(|| panic!("no seeds are kept for {target}"));
    let mut count = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        run(&std::fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 5, "{} has {count} seeds", folder.display());
}
