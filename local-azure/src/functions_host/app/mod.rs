//! A function app's files: host.json and one function.json a function.

mod error;
mod function_json;
mod host_json;
mod path_template;
mod retry_policy;
mod section;
mod settings;
mod time_span;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

pub use self::{
    error::Error,
    function_json::{AuthLevel, BlobOutput, Cardinality, DataType, EventHubTrigger, Function, HttpTrigger, Trigger},
    host_json::{Description, HostJson, RawHttp},
    path_template::PathTemplate,
    retry_policy::{RetryPolicy, Strategy},
    settings::AppSettings,
};

/// A function app, read and checked.
#[derive(Debug, Clone)]
pub struct App {
    /// The folder of host.json.
    pub root: PathBuf,
    /// host.json.
    pub host: HostJson,
    /// Its functions, by name, without those that a setting disables.
    pub functions: Vec<Function>,
    /// The functions that a setting disables, by name, with their function.json; null where that is not JSON.
    pub disabled: Vec<(String, Value)>,
    /// Its settings.
    pub settings: AppSettings,
}

impl App {
    /// Reads the app in the folder `root`.
    ///
    /// # Errors
    /// [`Error`] where a file is missing, is not JSON, or asks for what this host does not have.
    pub fn read(root: &Path, settings: AppSettings) -> Result<Self, Error> {
        let root = std::path::absolute(root).map_err(|source| Error::Unreadable { path: root.to_owned(), source })?;
        let read = |path: PathBuf| fs::read_to_string(&path).map_err(|source| Error::Unreadable { path, source });
        let host_json = read(root.join("host.json"))?;
        let entries = root.read_dir().map_err(|source| Error::Unreadable { path: root.clone(), source })?;
        let mut functions = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path().join("function.json");
            if path.is_file() {
                functions.push((entry.file_name().to_string_lossy().into_owned(), read(path)?));
            }
        }
        let functions = functions.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        Self::new(root, &host_json, functions, settings)
    }

    /// An app from the text of its files, as if they were in the folder `root`; `functions` gives names and
    /// function.json texts.
    ///
    /// # Errors
    /// [`Error`] where a file is not JSON or asks for what this host does not have.
    pub fn new<'a>(
        root: PathBuf,
        host_json: &str,
        functions: impl IntoIterator<Item = (&'a str, &'a str)>,
        settings: AppSettings,
    ) -> Result<Self, Error> {
        let host = HostJson::parse(host_json, &root, &settings)?;
        let (disabled, enabled): (Vec<_>, Vec<_>) =
            functions.into_iter().partition(|(name, _)| settings.disables(name));
        let mut functions =
            enabled.into_iter().map(|(name, text)| Function::parse(name, text)).collect::<Result<Vec<_>, _>>()?;
        functions.sort_by_key(|function| function.name);
        let mut disabled: Vec<_> = disabled
            .into_iter()
            .map(|(name, text)| (name.to_owned(), serde_json::from_str(text).unwrap_or_default()))
            .collect();
        disabled.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Self { root, host, functions, disabled, settings })
    }
}
