//! The programs that pay and are paid.

use crate::node::Software;

/// Programs of the payer and the payee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub payer: Software,
    pub payee: Software,
}

/// The pair measured without a comparison.
pub(super) const AMPD: Pair = Pair {
    payer: Software::Ampd,
    payee: Software::Ampd,
};
pub(super) const LND: Pair = Pair {
    payer: Software::Lnd,
    payee: Software::Lnd,
};
/// ampd with lnd, in both directions.
pub(super) const MIXED: [Pair; 2] = [
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
    /// Display name, from the versions that payer and payee report in GetInfo.
    pub(super) fn title(self, versions: &[String; 2]) -> String {
        let payer = program(self.payer, &versions[0]);
        let payee = program(self.payee, &versions[1]);
        format!("{payer} pays {payee}")
    }
}

fn program(software: Software, version: &str) -> String {
    let mut words = version.split(' ');
    match software {
        // ampd reports the lnd version it is compatible with before its own.
        Software::Ampd => words.next_back().unwrap_or_default().to_owned(),
        // lnd appends the commit.
        Software::Lnd => format!("lnd/{}", words.next().unwrap_or_default()),
        Software::CoreLightning | Software::Eclair => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_includes_the_version_of_each_program() {
        let versions = ["0.21.2-beta ampd/0.1.0", "0.21.2-beta commit=v0.21.2-beta"];
        let title = MIXED[0].title(&versions.map(str::to_owned));
        assert_eq!(title, "ampd/0.1.0 pays lnd/0.21.2-beta");
    }
}
