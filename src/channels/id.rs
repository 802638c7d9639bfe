//! What we write into LDK's `user_channel_id`: facts that LDK itself forgets when a channel closes.
//!
//! LDK hands this number back with every event of the channel, stores it with the channel, and does
//! not look at it. So who opened the channel and whether it is private survive restarts and are
//! still known when `ChannelClosed` arrives, without a table of our own.

/// Set if we opened the channel.
const INITIATOR_BIT: u128 = 1 << 127;
/// Set if the channel is not to be announced.
const PRIVATE_BIT: u128 = 1 << 126;
/// The rest is random, so that two channels never share a number.
const RANDOM_BITS: u128 = (1 << 126) - 1;

/// The operating system gave no randomness; nothing can be opened or accepted then.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random number generator failed: {0}")]
pub struct NoRandomness(getrandom::Error);

/// A channel's number in LDK, with two facts about the channel in its highest bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserChannelId(u128);

impl UserChannelId {
    /// Draws a fresh number for a channel.
    pub fn draw(initiator: bool, private: bool) -> Result<Self, NoRandomness> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(NoRandomness)?;
        let mut value = u128::from_be_bytes(bytes) & RANDOM_BITS;
        if initiator {
            value |= INITIATOR_BIT;
        }
        if private {
            value |= PRIVATE_BIT;
        }
        Ok(Self(value))
    }

    /// Whether we opened the channel.
    pub fn is_initiator(self) -> bool {
        self.0 & INITIATOR_BIT != 0
    }

    /// Whether the channel stays unannounced.
    pub fn is_private(self) -> bool {
        self.0 & PRIVATE_BIT != 0
    }

    /// The number as LDK knows it.
    pub fn value(self) -> u128 {
        self.0
    }
}

impl From<u128> for UserChannelId {
    fn from(value: u128) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_survive_the_way_through_ldk() {
        for (initiator, private) in [(false, false), (false, true), (true, false), (true, true)] {
            let number = UserChannelId::draw(initiator, private).unwrap().value();
            let read = UserChannelId::from(number);
            assert_eq!(
                (read.is_initiator(), read.is_private()),
                (initiator, private)
            );
        }
    }

    #[test]
    fn two_numbers_differ() {
        let draw = || UserChannelId::draw(true, false).unwrap();
        assert_ne!(draw(), draw());
    }
}
