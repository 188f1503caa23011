//! The storage account of the app: where blob outputs go.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tokio::sync::watch;

use crate::store::{State, Store};

/// What the account holds at most, in bytes.
const CAPACITY: usize = 1024 * 1024 * 1024;

/// Blobs in containers.
#[derive(Debug)]
pub struct Blobs {
    containers: Store<Containers>,
    written: watch::Sender<u64>,
}

/// A blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blob {
    /// What it holds.
    #[serde(serialize_with = "write_base64", deserialize_with = "read_base64")]
    pub content: Bytes,
    /// When it was written last.
    pub last_modified: Timestamp,
}

/// The account is full.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("cannot write blob {name} of {size} bytes: local-azure keeps at most {CAPACITY} bytes of blobs; delete some")]
pub struct Full {
    /// Which blob was to be written.
    pub name: String,
    /// How large it is.
    pub size: usize,
}

/// The state of the account.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Containers {
    containers: BTreeMap<String, BTreeMap<String, Blob>>,
}

/// One step of the account.
#[derive(Debug, Serialize, Deserialize)]
pub enum BlobChange {
    /// A blob is written, in place of one of that name.
    Put {
        /// Its container, made if need be.
        container: String,
        /// Its name.
        name: String,
        /// What it holds from now on.
        blob: Blob,
    },
    /// All containers are gone.
    Clear,
    /// A blob is deleted.
    Delete {
        /// Its container.
        container: String,
        /// Its name.
        name: String,
    },
}

impl Blobs {
    /// An account that begins with `containers`.
    pub fn new(containers: impl Into<Store<Containers>>) -> Self {
        Self { containers: containers.into(), written: watch::Sender::new(0) }
    }

    /// Writes a blob, in place of one of that name.
    ///
    /// # Errors
    /// [`Full`].
    pub fn put(&self, container: &str, name: &str, blob: Blob) -> Result<(), Full> {
        self.containers.change(|containers| {
            let size = blob.content.len();
            if containers.size() + size > CAPACITY {
                return Err(Full { name: format!("{container}/{name}"), size });
            }
            Ok((vec![BlobChange::Put { container: container.to_owned(), name: name.to_owned(), blob }], ()))
        })?;
        self.written.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Reads a blob.
    pub fn get(&self, container: &str, name: &str) -> Option<Blob> {
        self.containers.read(|containers| containers.containers.get(container)?.get(name).cloned())
    }

    /// The blobs of a container whose names begin with `prefix`, by name.
    pub fn list(&self, container: &str, prefix: &str) -> Vec<(String, Blob)> {
        self.containers.read(|containers| {
            let blobs = containers.containers.get(container).into_iter().flatten();
            let matching = blobs.filter(|(name, _)| name.starts_with(prefix));
            matching.map(|(name, blob)| (name.clone(), blob.clone())).collect()
        })
    }

    /// Deletes a blob; says whether there was one.
    pub fn delete(&self, container: &str, name: &str) -> bool {
        let deleted = self.containers.change(|containers| {
            let exists = containers.containers.get(container).is_some_and(|blobs| blobs.contains_key(name));
            let change = BlobChange::Delete { container: container.to_owned(), name: name.to_owned() };
            Ok::<_, std::convert::Infallible>((if exists { vec![change] } else { Vec::new() }, exists))
        });
        let Ok(deleted) = deleted;
        deleted
    }

    /// Deletes everything.
    pub fn clear(&self) {
        let Ok(()) = self.containers.change(|_| Ok::<_, std::convert::Infallible>((vec![BlobChange::Clear], ())));
    }

    /// Counts writes: changes whenever a blob was written.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Everything in it, for persistence.
    pub fn containers(&self) -> &Store<Containers> {
        &self.containers
    }
}

impl Containers {
    fn size(&self) -> usize {
        self.containers.values().flat_map(BTreeMap::values).map(|blob| blob.content.len()).sum()
    }
}

impl State for Containers {
    type Change = BlobChange;

    fn apply(&mut self, change: BlobChange) {
        match change {
            BlobChange::Put { container, name, blob } => {
                self.containers.entry(container).or_default().insert(name, blob);
            }
            BlobChange::Clear => self.containers.clear(),
            BlobChange::Delete { container, name } => {
                if let Some(blobs) = self.containers.get_mut(&container) {
                    blobs.remove(&name);
                }
            }
        }
    }
}

fn write_base64<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

fn read_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64_STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(content: impl Into<Bytes>) -> Blob {
        Blob { content: content.into(), last_modified: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn blobs_are_listed_by_prefix_replaced_by_name_and_deleted() {
        let blobs = Blobs::new(Containers::default());
        blobs.put("dead-letters", "A/1.json", blob("1")).unwrap();
        blobs.put("dead-letters", "B/2.json", blob("2")).unwrap();
        blobs.put("dead-letters", "A/1.json", blob("one")).unwrap();
        assert_eq!(blobs.list("dead-letters", "A/"), [("A/1.json".to_owned(), blob("one"))]);
        assert_eq!(blobs.list("dead-letters", "").len(), 2);
        assert!(blobs.delete("dead-letters", "A/1.json"));
        assert!(!blobs.delete("dead-letters", "A/1.json"));
        assert_eq!(blobs.get("dead-letters", "A/1.json"), None);
        blobs.clear();
        assert!(blobs.list("dead-letters", "").is_empty());
        assert_eq!(*blobs.written().borrow(), 3);
    }

    #[test]
    fn a_full_account_refuses_and_keeps_what_it_has() {
        let blobs = Blobs::new(Containers::default());
        let large = Bytes::from(vec![0; CAPACITY / 2]);
        blobs.put("c", "1", blob(large.clone())).unwrap();
        blobs.put("c", "2", blob(large)).unwrap();
        let full = blobs.put("c", "3", blob("x")).unwrap_err();
        assert_eq!((full.name.as_str(), full.size), ("c/3", 1));
        assert_eq!(blobs.list("c", "").len(), 2);
    }

    #[test]
    fn an_account_can_be_written_and_read_back() {
        let blobs = Blobs::new(Containers::default());
        blobs.put("c", "n", blob(vec![0xff, 0x00])).unwrap();
        let text = blobs.containers().read(|containers| serde_json::to_string(containers).unwrap());
        let again = Blobs::new(serde_json::from_str::<Containers>(&text).unwrap());
        assert_eq!(again.get("c", "n"), blobs.get("c", "n"));
    }
}
