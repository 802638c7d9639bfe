//! Parsing of whole command lines.

use std::path::Path;

use lnd_macaroon::{Id, Macaroon, Operations, RootKey};
use prost::{Message, Name};

use super::commands::PaymentCommand;
use super::*;

/// Returns recorded output of lncli, from lnd-api's test data.
pub(crate) fn recorded_text(file: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lnd-api/tests/data/lnd-output");
    std::fs::read_to_string(dir.join(file)).unwrap()
}

/// Returns the message of a recorded JSON output.
pub(crate) fn recorded_message<M: Message + Name + Default>(file: &str) -> M {
    let json = serde_json::from_str(&recorded_text(file)).unwrap();
    lnd_api::from_json(&json).unwrap()
}

/// Returns a macaroon without caveats and its root key.
pub(crate) fn macaroon() -> (Macaroon, RootKey) {
    let key = RootKey::from_bytes([7; 32]);
    let operations: Operations = [("info", "read")].into_iter().collect();
    let id = Id {
        nonce: [1; 16],
        root_key_id: 0,
        operations,
    };
    let macaroon = Macaroon::mint(&key, &id);
    (macaroon, key)
}

fn parse(line: &str) -> Result<Cli, clap::Error> {
    let args = std::iter::once("ampcli").chain(line.split_whitespace());
    super::parse(args.map(OsString::from))
}

#[test]
fn command_definition_is_valid() {
    command().debug_assert();
}

#[track_caller]
fn assert_accepted(lines: &[&str]) {
    for line in lines {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn accepts_node_and_on_chain_commands_of_lncli() {
    assert_accepted(&[
        "getinfo",
        "--network=regtest --rpcserver localhost:1 getinfo",
        "getinfo -n regtest",
        "walletbalance",
        "channelbalance",
        "newaddress p2wkh",
        "newaddress",
        "sendcoins --addr=bcrt1 --amt=1000 --sat_per_vbyte 2 -f",
        "sendcoins bcrt1 0.01btc",
        "sendcoins --sweepall --addr bcrt1",
        "getrecoveryinfo",
    ]);
}

#[test]
fn accepts_channel_and_network_commands_of_lncli() {
    assert_accepted(&[
        "connect 02aa@127.0.0.1:9735 --timeout 3s --perm",
        "disconnect 02aa",
        "listpeers",
        "openchannel --node_key=02aa --local_amt=100000 --push_amt 5 --private",
        "openchannel 02aa 100000 --sat_per_vbyte=1",
        "openchannel --node-key=02aa --local-amt=100000",
        "closechannel --funding_txid aa --output_index 0",
        "closechannel --chan_point aa:0 --force",
        "closechannel aa 0 --block=true",
        "closeallchannels --inactive_only --force --sat_per_vbyte 3 -s",
        "listchannels --active_only",
        "pendingchannels",
        "closedchannels --cooperative",
        "exportchanbackup --all",
        "getnodeinfo 02aa --include_channels --include_auth_proof",
        "getnodeinfo --pub_key=02aa",
        "getchaninfo 123145302441984",
        "getchaninfo --chan_id 5 --include_auth_proof",
        "getchaninfo --chan_point aa:0",
        "getnetworkinfo",
        "describegraph --include_unannounced",
        "feereport",
        "fwdinghistory",
        "fwdinghistory -1w",
        "fwdinghistory --start_time -3d --end_time=-1h --max_events 5 --skip_peer_alias_lookup",
        "fwdinghistory 0 --incoming_chan_ids 5 --outgoing_chan_ids=6 --outgoing_chan_ids=7",
        "updatechanpolicy 1000 0.000001 80",
        "updatechanpolicy --base_fee_msat 0 --fee_rate_ppm=5 --time_lock_delta 80 --chan_point aa:0",
        "signmessage hello",
        "signmessage --msg hello",
        "verifymessage hello d7jb",
        "verifymessage --msg=hello --sig d7jb",
        "sendcustom --peer 02aa --type=40000 --data 0102",
        "subscribecustom",
    ]);
}

#[test]
fn accepts_invoice_commands_of_lncli() {
    assert_accepted(&[
        "addinvoice --amp --amt=1000",
        "addinvoice 1000 --memo tea --amp=true --expiry 60",
        "addinvoice --amp --expiry never --qr --qr-file x.svg --private --fallback_addr bc1 --bip21",
        "donations show",
        "donations rotate --qr",
        "decodepayreq lnbc1",
        "qr lnbc1 --qr_file=x.png",
        "qr --pay_req lnbc1",
        "lookupinvoice 1111111111111111111111111111111111111111111111111111111111111111",
        "listinvoices --max_invoices 5 --paginate-forwards",
        "listinvoices --pending_only --creation_date_start 1 --creation_date_end=2",
        "subscribeinvoices --add_index 3 --settle_index=5",
        "invoicepayments lightning:LNBC1 --table --from 2026-11-01 --to 2026-11-30",
        "invoicepayments 1111111111111111111111111111111111111111111111111111111111111111",
        "invoicepayments lnbc1 --totals week --from=1700000000",
        "invoicepayments lnbc1 --csv tea.csv --to 2026-11-30T12:00:00Z",
        "disableinvoice lnbc1",
        "enableinvoice lnbc1",
    ]);
}

#[test]
fn accepts_payment_commands_of_lncli() {
    assert_accepted(&[
        "sendpayment --dest=02aa --amt=1000 --amp --timeout=1m0s --max_parts 8 --json",
        "sendpayment -d 02aa -a 1000 --amp --data 65536=00,65537=01",
        "sendpayment --pay_req=lnbc1 --amp --pay_addr=00",
        "payinvoice --amp -f lnbc1",
        "sendpayment --dest=02aa --amt=5 --keysend --message tea --data=65536=00",
        "sendpayment -dest 02aa -amt 5 -amp -route_hints [] -pay-addr 00 -cltv_limit 90",
        "payinvoice --pay_req lnbc1 --amp-reuse",
        "payinvoice --pay_req=lnbc1 --pay_addr 00 --message tea --cancelable=true",
        "payinvoice lnbc1 --outgoing_chan_id 1 --outgoing_chan_id=2 --last_hop 02aa",
        "payinvoice lnbc1 --json --inflight_updates --allow_self_payment --max_parts=1",
        "payinvoice lnbc1 --max_shard_size_sat 5 --timeout 5s --time_pref=1",
        "payinvoice lnbc1 --max_shard_size_msat=5000 -f=true",
        "payinvoice lnbc1 --force --json --amt 5 --fee_limit 10",
        "payinvoice -fee_limit_percent=5 --time_pref -0.5 --pay_req lnbc1",
        "trackpayment --json 1111111111111111111111111111111111111111111111111111111111111111",
        "listpayments --include_incomplete --paginate_forwards --max_payments 3",
        "listpayments --index_offset=5 --count_total_payments --omit_hops",
        "listpayments --creation_date_start 1 --creation_date_end=2",
        "deletepayments --all",
        "deletepayments --all --include_non_failed --failed_htlcs_only",
        "deletepayments --payment_hash=1111111111111111111111111111111111111111111111111111111111111111",
        "queryroutes 02aa 1000 --use_mc --ignore_pair 02aa:02bb --fee_limit=5 --cltv_limit 500",
        "queryroutes --dest=02aa --amt=1000 --outgoing_chan_id 1 --time_pref=-1",
        "buildroute --amt=1000 --hops 02aa,03bb --final_cltv_delta=80 --outgoing_chan_id 5",
        "sendtoroute --payment_hash=00 --routes={} --skip_temp_err",
        "sendtoroute --pay_hash 00 -",
        "estimateroutefee --dest 02aa --amt 1000 --outgoing_chan_id=1",
        "estimateroutefee --pay_req=lnbc1 --timeout=5s",
    ]);
}

#[test]
fn accepts_daemon_and_macaroon_commands_of_lncli() {
    assert_accepted(&[
        "version",
        "state",
        "debuglevel --show",
        "debuglevel --level info,peers=debug",
        "listaliases",
        "stop",
        "bakemacaroon info:read uri:/lnrpc.Lightning/GetInfo --root_key_id 5 --timeout=60",
        "bakemacaroon --save_to=x.macaroon --ip_address ::1 --ip_range 10.0.0.0/8 info:read",
        "listmacaroonids",
        "deletemacaroonid 5",
        "listpermissions",
        "printmacaroon 0201",
        "printmacaroon --macaroon_file x",
        "constrainmacaroon --timeout 5 a b",
        "lndconnect --host node.example --nocert --url --qr_file x.png --timeout 5",
        "completion bash",
        "man /tmp",
        "--tlscertpath a --macaroonpath=b --macaroontimeout 0 --macaroonip ::1 getinfo",
    ]);
}

#[test]
fn accepts_wallet_commands_of_lncli() {
    for line in [
        "sendmany {\"bcrt1\":1000,\"bcrt2\":2000} --sat_per_vbyte=2 --label tea",
        "sendmany {\"bcrt1\":1000} --conf_target 6 --min_confs 0",
        "estimatefee {\"bcrt1\":1000} --conf_target=6 --utxo {txid}:0 --utxo {txid}:1",
        "listchaintxns --start_height 5 --end_height=-1 --index_offset 3 --max_transactions 2",
        "listunspent",
        "listunspent 1 6",
        "listunspent --min_confs 1 --max_confs=6",
        "listunspent --unconfirmed_only",
        "wallet estimatefeerate 6",
        "wallet bumpfee {txid}:0 --sat_per_vbyte 5 --immediate --budget 500",
        "wallet bumpfee --conf_target=2 {txid}:0",
        "wallet labeltx {txid} tea --overwrite",
        "wallet publishtx 00 --label=tea",
        "wallet gettx {txid}",
        "wallet leaseoutput --outpoint {txid}:0 --lockid {txid} --expiry 60",
        "wallet releaseoutput {txid}:0",
        "wallet releaseoutput --outpoint {txid}:0 --lockid={txid}",
        "wallet listleases",
        "wallet requiredreserve --additional_channels 2",
        "wallet accounts list --name default --address_type p2wkh",
        "wallet addresses list",
        "wallet psbt fund --outputs {\"bcrt1\":1000} --inputs [\"{txid}:0\"] --sat_per_kw 500",
        "wallet psbt fund --template_psbt cHNidA== --conf_target=6 --min_confs 0",
        "wallet psbt sign cHNidA==",
        "wallet psbt finalize --funded_psbt cHNidA==",
    ] {
        let line = line.replace("{txid}", &"11".repeat(32));
        if let Err(error) = parse(&line) {
            panic!("{line}: {error}");
        }
    }
    for line in [
        "sendmany",
        "sendmany nonsense",
        "estimatefee {\"a\":-1}",
        "listunspent --unconfirmed_only --min_confs 1",
        "listunspent 1 2 3",
        "listunspent --max_confs 1",
        "wallet",
        "wallet nonsense",
        "wallet bumpfee",
        "wallet bumpfee 11:0",
        "wallet labeltx 11 tea",
        "wallet publishtx xx",
        "wallet leaseoutput --outpoint {txid}:0 --expiry 60",
        "wallet releaseoutput",
        "wallet psbt fund",
        "wallet psbt fund --template_psbt cHNidA== --outputs {}",
        "wallet psbt finalize not!base64",
    ] {
        let line = line.replace("{txid}", &"11".repeat(32));
        assert_eq!(parse(&line).expect_err(&line).exit_code(), 2, "{line}");
    }
}

#[test]
fn invoice_commands_accept_exactly_one_identifier() {
    let hash = "11".repeat(32);
    for line in [
        "lookupinvoice {}",
        "lookupinvoice --rhash={} --blank",
        "lookupinvoice --payment_addr {} --blank",
        "lookupinvoice --set_id {}",
        "lookupinvoice --set-id {} --set-only",
        "cancelinvoice {}",
        "cancelinvoice --paymenthash={}",
        "deletecanceledinvoice {}",
        "deletecanceledinvoice --invoice_hash {}",
        "addholdinvoice {} 1000 --memo tea --private --expiry 60",
        "addholdinvoice {} --amt_msat 1500 --cltv_expiry_delta 90",
        "settleinvoice {}",
        "settleinvoice --preimage={}",
        "subscribeinvoice {}",
    ] {
        let line = line.replace("{}", &hash);
        if let Err(error) = parse(&line) {
            panic!("{line}: {error}");
        }
    }
    for line in [
        "lookupinvoice {} --rhash {}",
        "lookupinvoice {} --payment_addr {}",
        "lookupinvoice --set_id {} --payment_addr {}",
        "lookupinvoice --blank",
        "lookupinvoice {} --set_only",
        "lookupinvoice --payment_addr {} --set_only",
        "lookupinvoice --set_id {} --set_only --blank",
        "lookupinvoice --set_id 1111",
        "cancelinvoice",
        "cancelinvoice {} --paymenthash {}",
        "deletecanceledinvoice",
        "addholdinvoice",
        "addholdinvoice {} 5 --amt 5",
        "settleinvoice",
        "settleinvoice 1111",
        "subscribeinvoice",
    ] {
        let line = line.replace("{}", &hash);
        assert_eq!(parse(&line).expect_err(&line).exit_code(), 2, "{line}");
    }
}

#[test]
fn switches_accept_false() {
    let amp = |line| match parse(line).unwrap().command {
        Command::Payment(PaymentCommand::SendPayment(command)) => {
            format!("{command:?}").contains("amp: true")
        }
        other => panic!("{other:?}"),
    };
    assert!(amp("sendpayment --amp") && amp("sendpayment --amp=true"));
    assert!(!amp("sendpayment --amp=false") && !amp("sendpayment"));
}

#[test]
fn invalid_command_lines_are_usage_errors() {
    for line in [
        "",
        "nonsense",
        "getinfo extra",
        "getinfo --network bitcoin",
        "lookupinvoice",
        "lookupinvoice 0011",
        "payinvoice",
        "payinvoice lnbc1 --pay_req lnbc2",
        "addinvoice --amt=-5",
        "addinvoice 5 --amt 5",
        "sendcoins bcrt1 1.5",
        "addinvoice --expiry sometime",
        "addinvoice --qr_file x.gif",
        "qr",
        "invoicepayments",
        "invoicepayments 0011",
        "invoicepayments lnbc1 --totals year",
        "invoicepayments lnbc1 --from 2026-13-01",
        "invoicepayments lnbc1 --csv a --totals day",
        "invoicepayments lnbc1 --csv a --max_payments 5",
        "disableinvoice",
        "queryroutes 02aa 5 --ignore_pair 02aa",
        "buildroute --amt 5",
        "buildroute --hops 02xx",
        "estimateroutefee",
        "estimateroutefee --dest 02aa",
        "getnodeinfo",
        "getchaninfo x",
        "signmessage",
        "sendcustom --peer 02aa",
        "updatechanpolicy 1 0 80 --fee_rate 1 --fee_rate_ppm 1",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}
