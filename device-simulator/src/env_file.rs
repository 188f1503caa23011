//! The settings' source: the environment, and behind it a `.env` file.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Where a file is looked for when none is named; the first one that exists is read.
const USUAL: [&str; 2] = ["device-simulator/.env", ".env"];

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why a file could not be read. Its lines are not repeated: they hold keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvFileError {
    #[error("{path}: {source}; name a file that can be read, or set the variables themselves", path = .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: it is not UTF-8 text; save it as UTF-8", path = .path.display())]
    Encoding { path: PathBuf },
    #[error("{path}: it is larger than {MAX_BYTES} bytes, which no .env file is", path = .path.display())]
    TooLarge { path: PathBuf },
    #[error("{path}: line {line} cannot be read; it takes NAME=\"value\"", path = .path.display())]
    Syntax { path: PathBuf, line: usize },
}

/// Variables by name; those of the environment come first.
pub(crate) struct Variables {
    file: HashMap<String, String>,
}

impl Variables {
    /// Reads `named`, or else the first of the usual files that there is.
    pub(crate) fn read(named: Option<&Path>) -> Result<Self, EnvFileError> {
        let usual = || USUAL.iter().map(Path::new).find(|path| path.is_file());
        let file = match named.or_else(usual) {
            Some(path) => read_file(path)?,
            None => HashMap::new(),
        };
        Ok(Self { file })
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        match std::env::var_os(name) {
            // What is not Unicode is no value of ours; the error that follows shows it as far as it can be read.
            Some(value) => Some(value.to_string_lossy().into_owned()),
            None => self.file.get(name).cloned(),
        }
    }
}

fn read_file(path: &Path) -> Result<HashMap<String, String>, EnvFileError> {
    let io = |source| EnvFileError::Io { path: path.to_owned(), source };
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text)).map_err(io)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(EnvFileError::TooLarge { path: path.to_owned() });
    }
    let text = String::from_utf8(text).map_err(|_| EnvFileError::Encoding { path: path.to_owned() })?;
    // Editors on Windows put a byte order mark at the start.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    parse(text).map_err(|line| EnvFileError::Syntax { path: path.to_owned(), line })
}

/// The variables of a file, or the number of the line that cannot be read.
fn parse(text: &str) -> Result<HashMap<String, String>, usize> {
    let read = |text: &str| dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>();
    read(text).map_err(|_| {
        // The error has a part of the line, which others can have too: what stands before the line can be read.
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        let good = ends.iter().rposition(|&end| text.get(..end).is_some_and(|before| read(before).is_ok()));
        good.map_or(1, |last| last + 2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_comments_quotes_and_exports() {
        let text = "# comment\nexport A=1\nB = \"dtmi:x;2\"\nC='a=='\nD=a+/==\n\nE=\n";
        let variables = parse(text).unwrap();
        let of = |name: &str| variables.get(name).map(String::as_str);
        assert_eq!((of("A"), of("B"), of("C")), (Some("1"), Some("dtmi:x;2"), Some("a==")));
        assert_eq!((of("D"), of("E"), of("F")), (Some("a+/=="), Some(""), None));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_by_its_number_and_not_repeated() {
        assert_eq!(parse("A=1\nPROVISIONING_SYMMETRIC_KEY secret\n"), Err(2));
        for (text, line) in [
            ("bad line", 1),
            ("A=1\n\nA=1 2\n", 3),
            ("A=1\nB=\"two\nlines\"\n# A=1 2\nC=1 2 # comment\nD=4\n", 5),
            ("A=1\nB=\"never closed\nC=3\n", 2),
        ] {
            assert_eq!(parse(text), Err(line), "{text}");
        }
        let path = PathBuf::from("x.env");
        let error = EnvFileError::Syntax { path, line: 2 };
        assert_eq!(error.to_string(), "x.env: line 2 cannot be read; it takes NAME=\"value\"");
    }

    #[test]
    fn a_file_from_windows_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}A=1\r\nB=\"two\"\r\n\r\n# C\r\nC='three'\r\n").unwrap();
        let variables = read_file(file.path()).unwrap();
        let of = |name: &str| variables.get(name).map(String::as_str);
        assert_eq!((variables.len(), of("A"), of("B"), of("C")), (3, Some("1"), Some("two"), Some("three")));
        // What `>` of an older PowerShell writes.
        let text: Vec<u8> = "\u{feff}A=1\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        std::fs::write(file.path(), text).unwrap();
        let error = read_file(file.path()).unwrap_err().to_string();
        assert!(error.ends_with("it is not UTF-8 text; save it as UTF-8"), "{error}");
        // Sparse: it takes no room on the disk.
        file.as_file().set_len(MAX_BYTES + 1).unwrap();
        assert!(matches!(read_file(file.path()), Err(EnvFileError::TooLarge { .. })));
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error() {
        let error = Variables::read(Some(Path::new("no/such/file.env"))).err().unwrap();
        assert!(error.to_string().starts_with("no/such/file.env: "), "{error}");
    }
}
