//! The stream as one file, or into a pipe: the init segment when it first appears and when
//! it changes, then each generation's fragments.
//!
//! The one rule: a generation is written whole or not at all, so that the file ends with a
//! whole fragment whenever the program ends.

use std::path::Path;

use bytes::Bytes;
use tokio::{
    fs::File,
    io::{AsyncWrite, AsyncWriteExt, stdout},
};

use super::hub::Media;

/// The file or pipe.
pub struct Output {
    sink: Box<dyn AsyncWrite + Send + Unpin>,
    init: Option<Bytes>,
}

impl Output {
    /// Creates the file; `-` is standard output.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn create(path: &Path) -> std::io::Result<Self> {
        let sink: Box<dyn AsyncWrite + Send + Unpin> = if path == Path::new("-") {
            Box::new(stdout())
        } else {
            Box::new(File::create(path).await?)
        };
        Ok(Self { sink, init: None })
    }

    /// Writes a generation and flushes it.
    ///
    /// # Errors
    /// What the operating system says; the output is then of no use.
    pub async fn write(&mut self, media: &Media) -> std::io::Result<()> {
        if media.init.is_some() && media.init != self.init {
            self.init.clone_from(&media.init);
            if let Some(init) = &self.init {
                self.sink.write_all(init).await?;
            }
        }
        if self.init.is_some() && !media.media.is_empty() {
            self.sink.write_all(&media.media).await?;
        }
        self.sink.flush().await
    }
}

#[cfg(test)]
mod tests {
    use stripe::Flags;

    use super::*;

    #[tokio::test]
    async fn the_init_segment_stands_once_before_what_needs_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.mp4");
        let mut output = Output::create(&path).await.unwrap();
        for (init, media) in [
            (None, "early"),
            (Some("I1"), "a"),
            (None, "b"),
            (Some("I1"), "c"),
            (Some("I2"), "d"),
        ] {
            let media = Media {
                media: Bytes::from_static(media.as_bytes()),
                init: init.map(|init| Bytes::from_static(init.as_bytes())),
                flags: Flags::default(),
                ingest_stamp_us: 0,
            };
            output.write(&media).await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "I1abcI2d");
    }
}
