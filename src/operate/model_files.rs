//! DTDL models in files.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use dtdl::{Interface, ModelId, ModelSet};

/// Why models cannot be had from files.
#[derive(Debug, thiserror::Error)]
pub(super) enum ModelFileError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Model { path: PathBuf, source: dtdl::Error },
    #[error("the models do not fit together: {0}; name the files of those that they extend or contain with --with")]
    Set(dtdl::Error),
    #[error("the files have no model {missing}; they have {}", join(.there))]
    Missing { missing: ModelId, there: Vec<ModelId> },
    #[error("which model does the twin have? Say it with --model-id, one of: {}", join(.0))]
    Ambiguous(Vec<ModelId>),
    #[error("the files have no model")]
    Empty,
}

fn join(ids: &[ModelId]) -> String {
    ids.iter().map(ModelId::as_str).collect::<Vec<_>>().join(", ")
}

/// Reads all interfaces in `files` into one set.
pub(super) fn read<'p>(files: impl IntoIterator<Item = &'p Path>) -> Result<ModelSet, ModelFileError> {
    let mut interfaces: Vec<Interface> = Vec::new();
    for path in files {
        let mut text = Vec::new();
        // One byte more than is parsed: what is too large is said to be.
        let read = File::open(path).and_then(|file| file.take(dtdl::MAX_TEXT as u64 + 1).read_to_end(&mut text));
        read.map_err(|source| ModelFileError::Read { path: path.to_owned(), source })?;
        // Editors put a byte order mark at the start.
        let more = dtdl::parse_text(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text));
        interfaces.extend(more.map_err(|source| ModelFileError::Model { path: path.to_owned(), source })?);
    }
    ModelSet::default().with(interfaces).map_err(ModelFileError::Set)
}

/// The model that is meant: the one that was asked for, else the one that no other extends or contains.
pub(super) fn choose(models: &ModelSet, asked: Option<&ModelId>) -> Result<ModelId, ModelFileError> {
    let all = || models.iter().map(Interface::id);
    if let Some(id) = asked {
        let missing = || ModelFileError::Missing { missing: id.clone(), there: all().cloned().collect() };
        return models.get(id).map(|_| id.clone()).ok_or_else(missing);
    }
    let tops: Vec<ModelId> = all().filter(|id| models.referenced_by(id).next().is_none()).cloned().collect();
    match &tops[..] {
        [only] => Ok(only.clone()),
        [] => Err(ModelFileError::Empty),
        _ => Err(ModelFileError::Ambiguous(tops)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn models(list: &[(&str, Option<&str>)]) -> ModelSet {
        let interface = |(id, parent): &(&str, Option<&str>)| {
            let parents: Vec<_> = parent.iter().collect();
            let model =
                json!({ "@context": "dtmi:dtdl:context;2", "@id": id, "@type": "Interface", "extends": parents });
            Interface::parse(&model).unwrap()
        };
        ModelSet::default().with(list.iter().map(interface)).unwrap()
    }

    #[test]
    fn the_model_that_no_other_needs_is_the_twins() {
        let models = models(&[("dtmi:a:Base;1", None), ("dtmi:a:Pump;1", Some("dtmi:a:Base;1"))]);
        assert_eq!(choose(&models, None).unwrap().as_str(), "dtmi:a:Pump;1");
        let asked: ModelId = "dtmi:a:Base;1".parse().unwrap();
        assert_eq!(choose(&models, Some(&asked)).unwrap(), asked);
    }

    #[test]
    fn a_byte_order_mark_at_the_start_of_a_file_is_no_part_of_the_model() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let model = json!({ "@context": "dtmi:dtdl:context;2", "@id": "dtmi:a:A;1", "@type": "Interface" });
        std::fs::write(file.path(), format!("\u{feff}{model}\r\n")).unwrap();
        assert_eq!(choose(&read([file.path()]).unwrap(), None).unwrap().as_str(), "dtmi:a:A;1");
    }

    #[test]
    fn where_several_could_be_meant_all_are_named() {
        let two = models(&[("dtmi:a:A;1", None), ("dtmi:a:B;1", None)]);
        let error = choose(&two, None).unwrap_err().to_string();
        assert!(error.ends_with("one of: dtmi:a:A;1, dtmi:a:B;1"), "{error}");
        let missing = choose(&two, Some(&"dtmi:a:C;1".parse().unwrap())).unwrap_err();
        assert_eq!(missing.to_string(), "the files have no model dtmi:a:C;1; they have dtmi:a:A;1, dtmi:a:B;1");
        assert_eq!(choose(&ModelSet::default(), None).unwrap_err().to_string(), "the files have no model");
    }
}
