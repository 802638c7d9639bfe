//! LDK's `user_channel_id`, in which we store facts that LDK discards when a channel closes.
//!
//! LDK stores this number with the channel, returns it with every event of the channel, and does
//! not interpret it. So the initiator and the private flag survive restarts and are still known
//! when `ChannelClosed` arrives, without a table of our own.

/// Set if we opened the channel.
const INITIATOR_BIT: u128 = 1 << 127;
/// Set if the channel is not announced.
const PRIVATE_BIT: u128 = 1 << 126;
/// The other bits are random, so that two channels do not share a number.
const RANDOM_BITS: u128 = (1 << 126) - 1;

/// The operating system provided no randomness, so no channel can be opened or accepted.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random number generator failed: {0}")]
pub struct NoRandomness(getrandom::Error);

/// A channel's `user_channel_id`, with two facts about the channel in its highest bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserChannelId(u128);

impl UserChannelId {
    /// Generates a random id for a new channel.
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

    /// Returns whether we opened the channel.
    pub fn is_initiator(self) -> bool {
        self.0 & INITIATOR_BIT != 0
    }

    /// Returns whether the channel is unannounced.
    pub fn is_private(self) -> bool {
        self.0 & PRIVATE_BIT != 0
    }

    /// Returns the number that is passed to LDK.
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
    fn flags_survive_the_round_trip_through_ldk() {
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
    fn ids_differ() {
        let draw = || UserChannelId::draw(true, false).unwrap();
        assert_ne!(draw(), draw());
    }
}
