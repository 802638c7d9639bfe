//! What every payer and payee must be able to do with each other, whatever lies between them.

mod amp;
mod bolt11;
mod by_route;
mod records;

use anyhow::{Context, Result};

use crate::scene::Scene;

/// All of it, from the payer to the payee.
pub async fn all(scene: Scene<'_>) -> Result<()> {
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
        by_route::hand_made_shards,
        by_route::a_wrong_share,
        by_route::a_total_too_small,
        bolt11::in_parts,
        bolt11::a_hold_invoice_settled_and_canceled,
        bolt11::expired_invoices,
    ];
    Ok(())
}
