//! Commands that write files accept a bare file name without a directory.

use anyhow::{Context, Result, ensure};
use regtest::network::Network;
use serde_json::Value;

use crate::ampcli::Cli;
use crate::binaries;

#[tokio::test]
async fn bare_file_names_refer_to_the_working_directory() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    let cli = Cli {
        network: &network,
        node: &network["alice"],
    };
    let here = tempfile::tempdir()?;
    let made: Value = serde_json::from_str(&cli.text_in(here.path(), &["addinvoice", "--amp"])?)?;
    let invoice = made["payment_request"].as_str().context("no invoice")?;
    let commands: [(&[&str], &str); 6] = [
        (
            &["bakemacaroon", "info:read", "--save_to", "a.macaroon"],
            "a.macaroon",
        ),
        (
            &[
                "constrainmacaroon",
                "--timeout",
                "60",
                "a.macaroon",
                "b.macaroon",
            ],
            "b.macaroon",
        ),
        (&["qr", invoice, "--qr_file", "tea.svg"], "tea.svg"),
        (&["lndconnect", "--qr_file", "node.png"], "node.png"),
        (&["invoicepayments", invoice, "--csv", "all.csv"], "all.csv"),
        (&["man", "pages"], "pages/ampcli.1"),
    ];
    for (command, file) in commands {
        cli.text_in(here.path(), command)?;
        ensure!(here.path().join(file).exists(), "{command:?} wrote no file");
    }
    network.finish();
    Ok(())
}
