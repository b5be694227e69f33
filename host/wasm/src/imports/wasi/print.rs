//! What a guest prints: lines of its log, within the limits of the log.

use crate::call_log::{CallLog, printable};
use crate::guest::Origin;

/// Where a guest prints to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Stdout,
    Stderr,
}

/// The lines that were begun and not ended.
#[derive(Debug, Default)]
pub(super) struct Printed {
    stdout: Begun,
    stderr: Begun,
}

#[derive(Debug, Default)]
struct Begun {
    /// As much of the line as the log has room for.
    line: Vec<u8>,
    /// Whether there was more of it.
    longer: bool,
}

impl Printed {
    /// Takes in what was printed. Bytes over the limits are looked at for the ends of lines, and not kept.
    pub(super) fn print(&mut self, channel: Channel, bytes: &[u8], origin: &Origin, log: &mut CallLog) {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let Some(last) = lines.next_back() else { return };
        for line in lines {
            self.begun(channel).extend(line, origin, log);
            self.end_line(channel, origin, log);
        }
        self.begun(channel).extend(last, origin, log);
    }

    /// Ends the lines that were begun.
    pub(super) fn end(&mut self, origin: &Origin, log: &mut CallLog) {
        self.end_line(Channel::Stdout, origin, log);
        self.end_line(Channel::Stderr, origin, log);
    }

    fn begun(&mut self, channel: Channel) -> &mut Begun {
        match channel {
            Channel::Stdout => &mut self.stdout,
            Channel::Stderr => &mut self.stderr,
        }
    }

    fn end_line(&mut self, channel: Channel, origin: &Origin, log: &mut CallLog) {
        let Begun { line, longer } = std::mem::take(self.begun(channel));
        if line.is_empty() && !longer {
            return;
        }
        let Some(room) = log.room(&origin.limits).filter(|_| !line.is_empty()) else { return log.cut() };
        let line = String::from_utf8_lossy(&line);
        let line = printable(line[..line.floor_char_boundary(room)].trim_end_matches('\r'));
        let (plugin, digest) = (origin.name.as_str(), origin.digest.as_str());
        let name = match channel {
            Channel::Stdout => {
                tracing::info!(target: "plugin", plugin, digest, "{line}");
                "stdout"
            }
            Channel::Stderr => {
                tracing::warn!(target: "plugin", plugin, digest, "{line}");
                "stderr"
            }
        };
        log.keep(name, &line);
    }
}

impl Begun {
    fn extend(&mut self, bytes: &[u8], origin: &Origin, log: &CallLog) {
        let room = log.room(&origin.limits).unwrap_or(0).saturating_sub(self.line.len());
        let kept = &bytes[..bytes.len().min(room)];
        self.line.extend_from_slice(kept);
        self.longer |= kept.len() < bytes.len();
    }
}
