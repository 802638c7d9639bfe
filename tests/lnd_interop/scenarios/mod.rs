//! Scenarios that every payer and payee must support, whatever nodes are between them.

mod amp;
mod bolt11;
mod records;
mod send_to_route;

use anyhow::{Context, Result};

use crate::scene::Scene;

/// Runs all scenarios from the payer to the payee.
pub(crate) async fn all(scene: Scene<'_>) -> Result<()> {
    let name = |what: &str| format!("{} to {}: {what}", scene.payer, scene.payee_name());
    macro_rules! run {
        ($($module:ident :: $scenario:ident),* $(,)?) => {$(
            $module::$scenario(scene).await.with_context(|| name(stringify!($scenario)))?;
        )*};
    }
    run![
        amp::spontaneous,
        amp::in_shards,
        amp::an_invoice,
        amp::one_invoice_five_times,
        amp::an_invoice_without_amount,
        amp::another_payment_address,
        records::with_custom_records_and_a_message,
        records::keysend_with_a_message,
        send_to_route::manual_shards,
        send_to_route::invalid_share,
        send_to_route::total_below_the_invoice_amount,
        bolt11::in_parts,
        bolt11::a_hold_invoice_settled_and_canceled,
        bolt11::expired_invoices,
    ];
    Ok(())
}
