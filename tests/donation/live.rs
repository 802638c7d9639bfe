//! The page in a browser: its QR code is scanned and paid, and the page updates without a reload.

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use regtest::node::Node;
use regtest::trials;
use serde_json::json;

use crate::browser::{self, Browser, Screen, qr_text};
use crate::{Scene, ampcli, request};

const DESKTOP: Screen = Screen {
    name: "desktop",
    width: 1280,
    height: 800,
    is_phone: false,
    is_dark: false,
};
const PHONE: Screen = Screen {
    name: "phone",
    width: 390,
    height: 844,
    is_phone: true,
    is_dark: false,
};

/// Length of a long message in bytes. Beyond this the onion has no space for the other records.
const MAX_MESSAGE_LEN: usize = 850;

/// Whether the page scrolls horizontally.
const TOO_WIDE: &str = "return document.documentElement.scrollWidth > innerWidth";

fn configure(alice: &mut Node) {
    alice.set(
        "donations-text",
        "We keep the servers running while you sleep.\n\nWhatever is left over goes into biscuits.",
    );
    alice.set_raw("donations-amounts", "[1000, 5000, 21000]");
    alice.set_raw("donations-goal", "100000");
    alice.set_raw("donations-show-messages", "true");
    alice.set_raw("donations-on-chain", "true");
    alice.set("donations-base-url", "https://example.org/tea");
}

pub(crate) fn trials() -> trials::Trials {
    trials![
        page_shows_two_payments_to_its_scanned_code,
        hostile_messages_are_shown_as_plain_text,
    ]
    .ignored_if(trials::not_installed(&browser::PROGRAMS))
}

async fn page_shows_two_payments_to_its_scanned_code() -> Result<()> {
    let mut browser = Browser::start().await?;
    let scene = Scene::start(configure).await?;
    let page = format!("http://{}/", scene.address()?);
    browser.use_screen(DESKTOP).await?;
    browser.go(&page).await?;
    // A reload would remove it.
    browser.run("window.sameVisit = true").await?;
    browser.wait_for_text("#live", "appear here").await?;
    browser.keep_screenshot("empty-desktop-light").await?;

    let scanned = qr_text(&browser.screenshot().await?)?;
    assert_eq!(scanned, scene.invoice().await?.to_uppercase());
    for (number, (sat, message)) in [(2_100, "for the tea"), (12_345, "für Kekse 🍪")]
        .into_iter()
        .enumerate()
    {
        scene.pay(&scanned, sat, message.as_bytes()).await?;
        let count = format!("{} donation", number + 1);
        browser.wait_for_text("#count", &count).await?;
        assert_eq!(browser.text("#recent .message").await?, message);
    }
    assert_eq!(browser.text("#recent .amount").await?, "12,345 sat");
    assert_eq!(browser.text("#total").await?, "14,445 sat");
    assert_eq!(browser.text("#count").await?, "2 donations");
    assert_eq!(browser.text("#percent").await?, "14 %");
    let announced = browser.text("[aria-live=polite]").await?;
    assert_eq!(announced, "Thank you! 12,345 sat received.");
    assert_eq!(browser.run("return window.sameVisit").await?, true);

    check_layout(&mut browser, &page).await?;
    check_copy_button(&mut browser, &scene).await?;
    check_rotation(&mut browser, &scene).await?;
    assert_eq!(browser.complaints().await?, [""; 0]);
    without_javascript(&mut browser, &scene, &page).await?;
    scene.network.finish();
    Ok(())
}

/// Checks that the page fits every screen and that its QR code can be scanned.
async fn check_layout(browser: &mut Browser, page: &str) -> Result<()> {
    for screen in [DESKTOP, PHONE] {
        for is_dark in [false, true] {
            let screen = Screen { is_dark, ..screen };
            browser.use_screen(screen).await?;
            browser.go(page).await?;
            browser.wait_for_text("#live", "appear here").await?;
            assert_eq!(browser.run(TOO_WIDE).await?, false, "{screen:?}");
            browser
                .run("document.querySelector('.code').scrollIntoView()")
                .await?;
            let scanned = qr_text(&browser.screenshot().await?)?;
            ensure!(scanned.starts_with("LNBCRT1P"), "{screen:?}: {scanned}");
            browser.run("scrollTo(0, 0)").await?;
            let scheme = if is_dark { "dark" } else { "light" };
            browser
                .keep_screenshot(&format!("{}-{scheme}", screen.name))
                .await?;
        }
    }
    browser
        .run("document.querySelector('details').open = true")
        .await?;
    browser
        .wait("const image = document.querySelector('details img'); image.decode().then(done)")
        .await?;
    browser.keep_screenshot("phone-on-chain").await?;
    browser.use_screen(DESKTOP).await
}

/// The copy button is visible with JavaScript, and works.
async fn check_copy_button(browser: &mut Browser, scene: &Scene) -> Result<()> {
    let permission = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
    browser
        .devtools("Browser.grantPermissions", permission)
        .await?;
    browser.click("[data-copy=invoice]").await?;
    browser
        .wait_for_text("[data-copy=invoice]", "Copied")
        .await?;
    let copied = browser
        .wait("navigator.clipboard.readText().then(done)")
        .await?;
    assert_eq!(copied, scene.invoice().await?);
    Ok(())
}

/// An open page gets the new QR code, not only the new text.
async fn check_rotation(browser: &mut Browser, scene: &Scene) -> Result<()> {
    let rotated = ampcli(&scene.network, &["donations", "rotate"])?;
    let invoice = rotated["payment_request"].as_str().context("no invoice")?;
    let shown = format!("document.querySelector('#invoice').value === '{invoice}'");
    browser.wait_until(&shown).await?;
    browser
        .wait("document.querySelector('.code img').decode().then(done)")
        .await?;
    let scanned = qr_text(&browser.screenshot().await?)?;
    assert_eq!(scanned, invoice.to_uppercase());
    Ok(())
}

/// Without JavaScript everything but live updates works: amounts are links to pages with QR codes.
async fn without_javascript(browser: &mut Browser, scene: &Scene, page: &str) -> Result<()> {
    let off = json!({ "value": true });
    browser
        .devtools("Emulation.setScriptExecutionDisabled", off)
        .await?;
    browser.go(page).await?;
    browser.click("a[href^='?amount=5000']").await?;
    let title = browser.text("#pay-title").await?;
    assert_eq!(title, "Pay 5,000 sat");
    let hidden = browser
        .run("return document.querySelector('[data-copy]').hidden")
        .await?;
    assert_eq!(hidden, true);
    let scanned = qr_text(&browser.screenshot().await?)?;
    browser
        .keep_screenshot("desktop-without-javascript")
        .await?;
    // The amount is in it.
    let paid = scene.pay(&scanned, 0, b"").await?;
    assert_eq!(paid.value_sat, 5_000);
    let off = json!({ "value": false });
    browser
        .devtools("Emulation.setScriptExecutionDisabled", off)
        .await?;
    browser.go(page).await?;
    browser.wait_for_text("#count", "3 donations").await?;
    Ok(())
}

async fn hostile_messages_are_shown_as_plain_text() -> Result<()> {
    let mut browser = Browser::start().await?;
    let scene = Scene::start(configure).await?;
    let page = format!("http://{}/", scene.address()?);
    browser.use_screen(PHONE).await?;
    browser.go(&page).await?;
    browser.wait_for_text("#live", "appear here").await?;
    let invoice = scene.invoice().await?;

    // The onion has no space for this.
    let huge = request(&invoice, 1_000, &[b'x'; 65_536])?;
    let refused = scene.network["bob"].api()?.pay(huge).await;
    ensure!(
        refused
            .as_ref()
            .map_or(true, |payment| payment.status() == PaymentStatus::Failed),
        "{refused:?}"
    );
    let markup = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\
                  </li></ul></section></main>&lt;b&gt;\"'><svg onload=window.hacked=3>";
    let control = "\u{1b}[2J\r\n\n\u{0}\u{7f}data: {}\n\nevent: payment";
    let turned = "100\u{202e}000,12\u{2066} \u{200f}abc";
    let zalgo = format!("Z{}", "\u{489}\u{335}\u{321}".repeat(90));
    let longest = "W".repeat(MAX_MESSAGE_LEN);
    let messages = [
        (markup, markup.to_owned()),
        (
            control,
            "\\u{1b}[2J\\u{d}\\u{a}\\u{a}\\u{0}\\u{7f}data: {}\\u{a}\\u{a}event: payment"
                .to_owned(),
        ),
        (
            turned,
            "100\\u{202e}000,12\\u{2066} \\u{200f}abc".to_owned(),
        ),
        (&zalgo, zalgo.clone()),
        (&longest, format!("{}…", "W".repeat(300))),
    ];
    for (number, (message, shown)) in messages.iter().enumerate() {
        scene.pay(&invoice, 1_000, message.as_bytes()).await?;
        let count = format!("{} donation", number + 1);
        browser.wait_for_text("#count", &count).await?;
        assert_eq!(&browser.text("#recent .message").await?, shown);
    }
    nothing_ran(&mut browser).await?;
    browser.keep_screenshot("hostile-phone-live").await?;
    // Again, as rendered by the server.
    browser.go(&page).await?;
    browser.wait_for_text("#live", "appear here").await?;
    for (number, (_, shown)) in messages.iter().rev().enumerate() {
        let selector = format!("#recent li:nth-child({}) .message", number + 1);
        assert_eq!(&browser.text(&selector).await?, shown);
    }
    nothing_ran(&mut browser).await?;
    browser.keep_screenshot("hostile-phone").await?;
    browser.use_screen(DESKTOP).await?;
    browser.keep_screenshot("hostile-desktop").await?;
    scene.network.finish();
    Ok(())
}

async fn nothing_ran(browser: &mut Browser) -> Result<()> {
    let found = browser
        .run(
            "return [window.hacked,
             document.querySelectorAll('#recent script, #recent img, #recent svg').length,
             document.querySelectorAll('#recent li').length]",
        )
        .await?;
    // No script has run, and the page has no injected or broken markup.
    assert_eq!(found, json!([null, 0, 5]));
    assert_eq!(browser.run(TOO_WIDE).await?, false);
    // Violations of the content security policy would be logged.
    assert_eq!(browser.complaints().await?, [""; 0]);
    Ok(())
}
