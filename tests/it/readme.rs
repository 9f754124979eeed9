//! The README lists every column of every file, in order, in the code's own words.

use std::fs;
use std::path::Path;

#[test]
fn columns_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(path).unwrap();
    for table in &psr_forensics::TABLES {
        let rows = table.columns.iter().map(|c| format!("| `{}` | {} |\n", c.name, c.description));
        let rows: String = rows.collect();
        assert!(readme.contains(&rows), "the README's table of {} is not:\n{rows}", table.file);
    }
}
