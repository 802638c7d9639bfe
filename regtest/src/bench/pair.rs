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

/// Describes who pays whom: `programs` are those on the route, the payer first.
pub(super) fn title(programs: &[String]) -> String {
    match programs {
        [] => String::new(),
        [payer, between @ .., payee] if !between.is_empty() => {
            format!("{payer} pays {payee} through {}", between.join(" and "))
        }
        [payer, .., payee] => format!("{payer} pays {payee}"),
        [alone] => alone.clone(),
    }
}

/// Name and version of a program, from the version that it reports in GetInfo.
pub(super) fn program(software: Software, version: &str) -> String {
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
        let ampd = program(Software::Ampd, "0.21.2-beta ampd/0.1.0");
        let lnd = program(Software::Lnd, "0.21.2-beta commit=v0.21.2-beta");
        let title = |programs: [&String; 2]| title(&programs.map(String::clone));
        assert_eq!(title([&ampd, &lnd]), "ampd/0.1.0 pays lnd/0.21.2-beta");
    }

    #[test]
    fn title_includes_the_nodes_between() {
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(title(&names), "a pays c through b");
    }
}
