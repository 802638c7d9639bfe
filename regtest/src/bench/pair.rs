//! Which program pays which.

use crate::node::Software;

/// Who pays and who is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub payer: Software,
    pub payee: Software,
}

/// What is measured when there is nothing to compare with.
pub const AMPD: Pair = Pair {
    payer: Software::Ampd,
    payee: Software::Ampd,
};
pub const LND: Pair = Pair {
    payer: Software::Lnd,
    payee: Software::Lnd,
};
/// ampd with lnd, both ways.
pub const MIXED: [Pair; 2] = [
    Pair {
        payer: Software::Ampd,
        payee: Software::Lnd,
    },
    Pair {
        payer: Software::Lnd,
        payee: Software::Ampd,
    },
];

impl Pair {
    /// For people, from what GetInfo says of the payer's and the payee's version.
    pub fn title(self, versions: &[String; 2]) -> String {
        let payer = program(self.payer, &versions[0]);
        let payee = program(self.payee, &versions[1]);
        format!("{payer} pays {payee}")
    }
}

fn program(software: Software, version: &str) -> String {
    let mut words = version.split(' ');
    match software {
        // Before its own it names the lnd whose interface it has.
        Software::Ampd => words.next_back().unwrap_or_default().to_owned(),
        // Behind it comes the commit.
        Software::Lnd => format!("lnd/{}", words.next().unwrap_or_default()),
        Software::CoreLightning | Software::Eclair => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_names_each_program_with_its_own_version() {
        let versions = ["0.21.2-beta ampd/0.1.0", "0.21.2-beta commit=v0.21.2-beta"];
        let title = MIXED[0].title(&versions.map(str::to_owned));
        assert_eq!(title, "ampd/0.1.0 pays lnd/0.21.2-beta");
    }
}
