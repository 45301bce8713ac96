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
    sink: Sink,
    init: Option<Bytes>,
}

enum Sink {
    /// Open, and as it was found: nothing is lost when there is no broadcast.
    Found(File),
    Begun(Box<dyn AsyncWrite + Send + Unpin>),
}

impl Output {
    /// Opens the file, or creates it; `-` is standard output. What it held goes with the first
    /// write.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn create(path: &Path) -> std::io::Result<Self> {
        let sink = if path == Path::new("-") {
            Sink::Begun(Box::new(stdout()))
        } else {
            let mut options = File::options();
            options.write(true).create(true).truncate(false);
            Sink::Found(options.open(path).await?)
        };
        Ok(Self { sink, init: None })
    }

    /// Writes a generation and flushes it.
    ///
    /// # Errors
    /// What the operating system says; the output is then of no use.
    pub async fn write(&mut self, media: &Media) -> std::io::Result<()> {
        if let Sink::Found(file) = &self.sink {
            // Pipes and devices have no length.
            if file.metadata().await?.is_file() {
                file.set_len(0).await?;
            }
            self.sink = Sink::Begun(Box::new(file.try_clone().await?));
        }
        let Sink::Begun(sink) = &mut self.sink else {
            return Ok(());
        };
        if media.init.is_some() && media.init != self.init {
            self.init.clone_from(&media.init);
            if let Some(init) = &self.init {
                sink.write_all(init).await?;
            }
        }
        if self.init.is_some() && !media.media.is_empty() {
            sink.write_all(&media.media).await?;
        }
        sink.flush().await
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
        std::fs::write(&path, "an earlier broadcast").unwrap();
        let mut output = Output::create(&path).await.unwrap();
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept, "an earlier broadcast");
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
