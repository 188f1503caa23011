//! Versions of the data plane's interface.

/// An `api-version` that clients may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ApiVersion {
    V20201031,
    V20210630Preview,
    V20220531,
    V20230227Preview,
    V20230630,
    V20231031,
}

impl ApiVersion {
    /// The newest version.
    pub(crate) const LATEST: Self = Self::V20231031;

    /// The stable versions, and the previews that clients are known to send (Digital Twins Explorer sends
    /// 2021-06-30-preview). `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "2020-10-31" => Self::V20201031,
            "2021-06-30-preview" => Self::V20210630Preview,
            "2022-05-31" => Self::V20220531,
            "2023-02-27-preview" => Self::V20230227Preview,
            "2023-06-30" => Self::V20230630,
            "2023-10-31" => Self::V20231031,
            _ => return None,
        })
    }

    /// The version as clients write it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V20201031 => "2020-10-31",
            Self::V20210630Preview => "2021-06-30-preview",
            Self::V20220531 => "2022-05-31",
            Self::V20230227Preview => "2023-02-27-preview",
            Self::V20230630 => "2023-06-30",
            Self::V20231031 => "2023-10-31",
        }
    }

    /// Whether `$metadata` shows `$lastUpdateTime` (the 2020 version did not).
    pub(crate) fn has_last_update_time(self) -> bool {
        self >= Self::V20210630Preview
    }

    /// Whether `$metadata` has `sourceTime` (added in 2022-05-31).
    pub(crate) fn has_source_time(self) -> bool {
        self >= Self::V20220531
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_back_as_written_and_unknown_ones_do_not() {
        for text in ["2020-10-31", "2021-06-30-preview", "2022-05-31", "2023-02-27-preview", "2023-06-30", "2023-10-31"]
        {
            assert_eq!(ApiVersion::parse(text).map(ApiVersion::as_str), Some(text));
        }
        assert_eq!(ApiVersion::parse("2099-01-01"), None);
        assert_eq!(ApiVersion::parse("2022-05-31 "), None);
    }
}
