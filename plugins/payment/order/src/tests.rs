#![allow(clippy::inconsistent_digit_grouping, reason = "cents stand apart: 100_00 are 100.00")]

use pelton_plugin::testing::{Decision, TestCommandHandler, settings};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

// Three lines cost 300.00: more than may be refunded unapproved.
const PLACE: &str = r#"{"order":{"id":1},"lines":[
    {"item":"a pen","amountCents":100},{"item":"a desk","amountCents":19900},{"item":"a lamp","amountCents":10000}]}"#;
const TOTAL: u64 = 300_00;

fn event(kind: &str, data: &str) -> (String, String) {
    (kind.to_owned(), data.to_owned())
}

/// The order's first events, as they are stored.
fn placed() -> Vec<(String, String)> {
    placed_with(r#"{"order":{"id":"1"},"totalCents":30000,"currency":"EUR","needsApproval":false}"#)
}

fn placed_with(data: &str) -> Vec<(String, String)> {
    let line = |item, cents| {
        event("line-added", &format!(r#"{{"order":{{"id":"1"}},"item":"{item}","amountCents":{cents}}}"#))
    };
    vec![event("order-placed", data), line("a pen", 100), line("a desk", 19900), line("a lamp", 10000)]
}

fn paid() -> Vec<(String, String)> {
    let data = r#"{"order":{"id":"1"},"amountCents":30000,"currency":"EUR","at":"2000-01-01T01:00:00Z"}"#;
    [placed(), vec![event("payment-withdrawn", data)]].concat()
}

fn paid_and(more: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    paid().into_iter().chain(more).collect()
}

fn refunded(cents: u64) -> (String, String) {
    event("refund-paid", &format!(r#"{{"order":{{"id":"1"}},"amountCents":{cents}}}"#))
}

fn requested(refund: &str, cents: u64) -> (String, String) {
    let data = format!(r#"{{"order":{{"id":"1"}},"refund":{{"id":"{refund}"}},"amountCents":{cents}}}"#);
    event("refund-requested", &data)
}

fn approved(refund: &str, approver: &str) -> (String, String) {
    let data =
        format!(r#"{{"order":{{"id":"1"}},"refund":{{"id":"{refund}"}},"approver":{{"id":"{approver}"}}}}"#);
    event("refund-approved", &data)
}

fn refund_paid(refund: &str, cents: u64) -> (String, String) {
    let data = format!(r#"{{"order":{{"id":"1"}},"refund":{{"id":"{refund}"}},"amountCents":{cents}}}"#);
    event("refund-paid", &data)
}

fn when(history: &[(String, String)], command: &str, data: &str) -> Decision {
    let given = Payment::given([]);
    history.iter().fold(given, |given, (kind, data)| given.recorded(kind, 1, data)).when_sent(command, data)
}

fn withdraw(history: &[(String, String)], cents: u64) -> Decision {
    when(history, "withdraw", &format!(r#"{{"order":{{"id":1}},"amountCents":{cents}}}"#))
}

fn refund(history: &[(String, String)], cents: u64) -> Decision {
    when(history, "refund", &format!(r#"{{"order":{{"id":1}},"amountCents":{cents}}}"#))
}

fn request(history: &[(String, String)], refund: &str, cents: u64) -> Decision {
    let data = format!(r#"{{"order":{{"id":1}},"refund":{{"id":"{refund}"}},"amountCents":{cents}}}"#);
    when(history, "request-refund", &data)
}

fn approve(history: &[(String, String)], refund: &str, approver: &str) -> Decision {
    let data =
        format!(r#"{{"order":{{"id":1}},"refund":{{"id":"{refund}"}},"approver":{{"id":{approver}}}}}"#);
    when(history, "approve-refund", &data)
}

#[track_caller]
fn then(decision: Decision, events: &[(String, String)]) {
    decision.then(events.iter().map(|(kind, data)| read(kind, data)));
}

/// Reads an event from its stored form. The tests compare the form in which it is written again.
fn read(kind: &str, data: &str) -> Event {
    let json = format!(r#"{{"{kind}":{data}}}"#);
    serde_json::from_str(&json).expect("it is an event")
}

fn detail<'a>(rejection: &'a Rejection, name: &str) -> &'a str {
    let found = rejection.details.iter().find(|(have, _)| have == name);
    found.map_or_else(|| panic!("{rejection:?} has no {name}"), |(_, value)| value)
}

#[test]
fn an_order_is_placed_once_with_all_its_lines() {
    then(when(&[], "place-order", PLACE), &placed());
    let again = when(&placed(), "place-order", PLACE).then_rejected("order-already-placed");
    assert_eq!(again.message, "order 1 was placed before");
    when(&paid(), "place-order", PLACE).then_rejected("order-already-placed");
}

#[test]
fn an_order_has_lines_and_not_too_many() {
    let lines = |n: usize| {
        let lines = vec![r#"{"item":"a pen","amountCents":1}"#; n].join(",");
        when(&[], "place-order", &format!(r#"{{"order":{{"id":1}},"lines":[{lines}]}}"#))
    };
    let none = lines(0).then_rejected("invalid-command");
    assert_eq!(none.message, "order 1 has 0 lines; 1 to 99 are allowed");
    lines(100).then_rejected("invalid-command");
    let most = r#"{"order":{"id":"1"},"totalCents":99,"currency":"EUR","needsApproval":false}"#;
    let line = event("line-added", r#"{"order":{"id":"1"},"item":"a pen","amountCents":1}"#);
    then(lines(99), &[vec![event("order-placed", most)], vec![line; 99]].concat());
}

#[test]
fn an_order_that_costs_more_money_than_there_is_is_refused() {
    let line = r#"{"item":"the moon","amountCents":9007199254740991}"#;
    let data = |lines: &str| format!(r#"{{"order":{{"id":1}},"lines":[{lines}]}}"#);
    let one = r#"{"order":{"id":"1"},"totalCents":9007199254740991,"currency":"EUR","needsApproval":false}"#;
    let moon = r#"{"order":{"id":"1"},"item":"the moon","amountCents":9007199254740991}"#;
    then(when(&[], "place-order", &data(line)), &[event("order-placed", one), event("line-added", moon)]);
    let two = when(&[], "place-order", &data(&[line, line].join(","))).then_rejected("invalid-command");
    assert_eq!(two.message, "order 1 costs more money than there is");
}

#[test]
fn nothing_is_done_for_an_order_that_was_never_placed() {
    for decision in
        [withdraw(&[], TOTAL), refund(&[], 1), request(&[], "r", 1), approve(&[], "r", r#""ada""#)]
    {
        let rejection = decision.then_rejected("no-such-order");
        assert_eq!(rejection.message, "order 1 was never placed");
    }
}

#[test]
fn an_order_is_paid_once_whatever_happens_later() {
    then(withdraw(&placed(), TOTAL), &paid()[4..]);
    let all_back =
        [requested("r", TOTAL), approved("r", "ada"), approved("r", "bob"), refund_paid("r", TOTAL)];
    for history in [paid(), paid_and([refunded(1)]), paid_and(all_back)] {
        for cents in [TOTAL, 1] {
            let again = withdraw(&history, cents).then_rejected("already-withdrawn");
            let why = "order 1 was paid at 2000-01-01T01:00:00Z: 300.00 EUR were withdrawn, and only once";
            assert_eq!(again.message, why);
            assert_eq!(detail(&again, "withdrawnAt"), "2000-01-01T01:00:00Z");
            assert_eq!((detail(&again, "amountCents"), detail(&again, "currency")), ("30000", "EUR"));
        }
    }
}

#[test]
fn exactly_what_the_order_costs_is_withdrawn_in_its_currency() {
    for cents in [1, TOTAL - 1, TOTAL + 1, payment_types::MAX_CENTS] {
        let rejection = withdraw(&placed(), cents).then_rejected("amount-mismatch");
        assert_eq!(detail(&rejection, "totalCents"), "30000");
    }
    let in_currency = |currency| {
        let data = format!(r#"{{"order":{{"id":1}},"amountCents":30000,"currency":{currency}}}"#);
        when(&placed(), "withdraw", &data)
    };
    then(in_currency(r#""EUR""#), &paid()[4..]);
    then(in_currency("null"), &paid()[4..]);
    let dollars = in_currency(r#""USD""#).then_rejected("currency-mismatch");
    assert_eq!(dollars.message, "order 1 is paid in EUR, not in USD");
    assert_eq!(detail(&dollars, "currency"), "EUR");
}

#[test]
fn an_order_may_be_in_another_currency() {
    let data = PLACE.replacen('{', r#"{"currency":"USD","#, 1);
    let dollars = r#"{"order":{"id":"1"},"totalCents":30000,"currency":"USD","needsApproval":false}"#;
    then(when(&[], "place-order", &data), &placed_with(dollars));
    let paid = r#"{"order":{"id":"1"},"amountCents":30000,"currency":"USD","at":"2000-01-01T01:00:00Z"}"#;
    then(withdraw(&placed_with(dollars), TOTAL), &[event("payment-withdrawn", paid)]);
}

#[test]
fn nothing_goes_back_before_anything_was_paid() {
    refund(&placed(), 1).then_rejected("nothing-paid");
    request(&placed(), "r", 1).then_rejected("nothing-paid");
    approve(&placed(), "r", "1").then_rejected("no-such-refund");
}

#[test]
fn refunds_say_why() {
    let data = r#"{"order":{"id":1},"refund":{"id":"r"},"amountCents":5,"reason":"it broke"}"#;
    let with_reason = |kind, refund: &str| {
        event(kind, &format!(r#"{{"order":{{"id":"1"}},{refund}"amountCents":5,"reason":"it broke"}}"#))
    };
    then(when(&paid(), "refund", data), &[with_reason("refund-paid", "")]);
    let request = with_reason("refund-requested", r#""refund":{"id":"r"},"#);
    then(when(&paid(), "request-refund", data), std::slice::from_ref(&request));
    let paid_back = with_reason("refund-paid", r#""refund":{"id":"r"},"#);
    let history = paid_and([request, approved("r", "ada")]);
    then(approve(&history, "r", r#""bob""#), &[approved("r", "bob"), paid_back]);
}

#[test]
fn never_more_goes_back_than_was_paid() {
    let history = paid_and([
        refunded(50_00),
        requested("r1", 150_00),
        approved("r1", "ada"),
        approved("r1", "bob"),
        refund_paid("r1", 150_00),
        requested("r2", 60_00),
    ]);
    for decision in [refund(&history, 40_01), request(&history, "r3", 40_01), refund(&history, TOTAL)] {
        let rejection = decision.then_rejected("refund-exceeds-payment");
        let details = ["remainingCents", "paidCents", "refundedCents", "reservedCents"];
        assert_eq!(details.map(|name| detail(&rejection, name)), ["4000", "30000", "20000", "6000"]);
    }
    then(refund(&history, 40_00), &[refunded(40_00)]);
    then(request(&history, "r3", 40_00), &[requested("r3", 40_00)]);
    let nothing_remains =
        refund(&paid_and([refund_paid("r", TOTAL)]), 1).then_rejected("refund-exceeds-payment");
    let why = "order 1 can have 0.00 refunded, not 0.01: of 300.00 paid, 300.00 went back and 0.00 are reserved for \
               refunds that wait for approval";
    assert_eq!(nothing_remains.message, why);
    refund(&paid(), payment_types::MAX_CENTS).then_rejected("refund-exceeds-payment");
}

#[test]
fn without_approval_goes_back_a_little_altogether() {
    then(refund(&paid(), 100_00), &[refunded(100_00)]);
    refund(&paid(), 100_01).then_rejected("refund-needs-approval");
    let pieces = paid_and([refunded(60_00), refunded(30_00)]);
    then(refund(&pieces, 10_00), &[refunded(10_00)]);
    let rejection = refund(&pieces, 10_01).then_rejected("refund-needs-approval");
    assert_eq!(
        (detail(&rejection, "limitCents"), detail(&rejection, "refundedUnapprovedCents")),
        ("10000", "9000")
    );
    // What was approved does not count.
    let approved = paid_and([requested("r", 150_00), refund_paid("r", 150_00)]);
    then(refund(&approved, 100_00), &[refunded(100_00)]);
}

#[test]
fn the_operator_sets_how_much_goes_back_without_approval() {
    let set = settings([(UNAPPROVED_SETTING, "5000")]);
    assert_eq!(Payment::check_settings(), Ok(()));
    then(refund(&paid(), 50_00), &[refunded(50_00)]);
    let rejection = refund(&paid(), 50_01).then_rejected("refund-needs-approval");
    assert_eq!(detail(&rejection, "limitCents"), "5000");
    drop(set);
    then(refund(&paid(), 100_00), &[refunded(100_00)]);
    for (wrong, part) in [("much", "is \"much\": invalid digit"), ("0", "is 0: an amount has 1 to")] {
        let _set = settings([(UNAPPROVED_SETTING, wrong)]);
        assert!(Payment::check_settings().unwrap_err().contains(part));
    }
}

#[test]
fn an_order_may_need_approval_for_every_refund() {
    let strict = r#"{"order":{"id":"1"},"totalCents":30000,"currency":"EUR","needsApproval":true}"#;
    let data = PLACE.replacen('{', r#"{"needsApproval":true,"#, 1);
    then(when(&[], "place-order", &data), &placed_with(strict));
    let history = [placed_with(strict), paid()[4..].to_vec()].concat();
    let rejection = refund(&history, 1).then_rejected("refund-needs-approval");
    assert_eq!(detail(&rejection, "limitCents"), "0");
    then(request(&history, "r", 1), &[requested("r", 1)]);
}

#[test]
fn a_refund_is_requested_once() {
    for history in
        [paid_and([requested("7", TOTAL)]), paid_and([requested("7", TOTAL), approved("7", "ada")])]
    {
        let again = request(&history, "7", 1).then_rejected("refund-already-requested");
        assert_eq!((detail(&again, "amountCents"), detail(&again, "paid")), ("30000", "false"));
    }
    let again = request(&paid_and([requested("7", 1), refund_paid("7", 1)]), "7", 1);
    assert_eq!(detail(&again.then_rejected("refund-already-requested"), "paid"), "true");
    let many = paid_and((0..100).map(|n| requested(&n.to_string(), 1)));
    request(&many, "more", 1).then_rejected("too-many-refund-requests");
}

#[test]
fn two_big_requests_cannot_both_be_approved_beyond_the_payment() {
    let history = paid_and([requested("r1", 200_00)]);
    let rejection = request(&history, "r2", 200_00).then_rejected("refund-exceeds-payment");
    assert_eq!(
        (detail(&rejection, "remainingCents"), detail(&rejection, "reservedCents")),
        ("10000", "20000")
    );
    approve(&history, "r2", "1").then_rejected("no-such-refund");
}

#[test]
fn a_refund_is_paid_once_with_the_approval_of_a_second_person() {
    let asked = paid_and([requested("r", 200_00)]);
    then(approve(&asked, "r", r#""ada""#), &[approved("r", "ada")]);
    let half = paid_and([requested("r", 200_00), approved("r", "ada")]);
    let again = approve(&half, "r", r#""ada""#).then_rejected("already-approved-by-you");
    assert_eq!(
        again.message,
        "order 1 had refund r approved by you before: another person has to approve it too"
    );
    then(approve(&half, "r", r#""bob""#), &[approved("r", "bob"), refund_paid("r", 200_00)]);
    let done = [half, vec![approved("r", "bob"), refund_paid("r", 200_00)]].concat();
    for approver in [r#""ada""#, r#""bob""#, r#""eve""#] {
        let late = approve(&done, "r", approver).then_rejected("refund-already-paid");
        assert_eq!(late.message, "order 1 had refund r approved and paid before");
        assert_eq!(detail(&late, "refund"), "r");
    }
}

#[test]
fn one_person_is_not_two_approvers() {
    let half = paid_and([requested("r", 200_00), approved("r", "7")]);
    for same in ["7", r#""7""#] {
        approve(&half, "r", same).then_rejected("already-approved-by-you");
    }
    for trick in [r#"" 7""#, r#""7 ""#, r#""7\u200b""#, "7.0", "-7", r#""""#, "null"] {
        approve(&half, "r", trick).then_rejected("invalid-command");
    }
    let other_refund = paid_and([requested("r", 1), requested("s", 1), approved("r", "7")]);
    then(approve(&other_refund, "s", "7"), &[approved("s", "7")]);
}

#[test]
fn a_command_that_cannot_be_read_is_refused() {
    let number =
        |number: &str| format!(r#"{{"order":{{"id":1}},"refund":{{"id":1}},"amountCents":{number}}}"#);
    for hostile in
        ["0", "-1", "1.5", "1e2", "9007199254740992", "18446744073709551616", "1e999", r#""1""#, "null"]
    {
        for command in ["withdraw", "refund", "request-refund"] {
            when(&paid(), command, &number(hostile)).then_rejected("invalid-command");
        }
        let line = format!(r#"{{"order":{{"id":1}},"lines":[{{"item":"a pen","amountCents":{hostile}}}]}}"#);
        when(&[], "place-order", &line).then_rejected("invalid-command");
    }
    for (command, data, cause) in [
        ("withdraw", r#"{"order":{"id":1}}"#, "missing field `amountCents`"),
        ("withdraw", r#"{"order":{"id":1},"amountCents":0}"#, "an amount has 1 to 9007199254740991 cents"),
        ("withdraw", r#"{"order":{"id":1},"amountCents":1,"currency":"euro"}"#, "three capital letters"),
        ("withdraw", r#"{"order":1,"amountCents":1}"#, "expected struct Order"),
        ("refund", r#"{"order":{"id":1},"amountCents":1,"reason":""}"#, "a text has 1 to 200 bytes"),
        ("place-order", r#"{"order":{"id":1}}"#, "missing field `lines`"),
        ("approve-refund", r#"{"order":{"id":1},"refund":{"id":1}}"#, "missing field `approver`"),
        ("payment-withdrawn", "{}", "there is no command `payment-withdrawn`"),
    ] {
        let rejection = when(&paid(), command, data).then_rejected("invalid-command");
        assert!(rejection.message.contains(cause), "{}", rejection.message);
    }
}

#[test]
fn an_event_that_cannot_be_read_stops_the_order() {
    for data in [r#"{"order":{"id":"1"}}"#, r#"{"order":{"id":"1"},"amountCents":-1}"#] {
        let cause = Payment::given([]).recorded("refund-paid", 1, data).then_unreadable();
        assert!(cause.contains("cannot be read"), "{cause}");
    }
    let cause = Payment::given([]).recorded("refund-paid", 2, "{}").then_unreadable();
    assert!(cause.contains("unknown"), "{cause}");
}

#[test]
fn events_that_say_too_much_leave_nothing_to_refund() {
    let most = payment_types::MAX_CENTS;
    let impossible = paid_and([refunded(most), refunded(most), requested("r", most), requested("s", most)]);
    let rejection = refund(&impossible, 1).then_rejected("refund-exceeds-payment");
    assert_eq!(detail(&rejection, "remainingCents"), "0");
}

fn command() -> impl Strategy<Value = Command> {
    let order = || Order { id: 1.into() };
    let amount =
        || select(vec![1, 40_00, 100_00, 150_00, 300_00, payment_types::MAX_CENTS]).prop_map(Amount::new);
    let refund = || (1u64..4).prop_map(|id| Refund { id: id.into() });
    let line = || Line {
        item: Text::try_from("a desk".to_owned()).expect("it is a text"),
        amount_cents: Amount::new(150_00),
    };
    prop_oneof![
        1 => any::<Option<bool>>().prop_map(move |needs_approval| {
            Command::PlaceOrder { order: order(), lines: vec![line(), line()], currency: None, needs_approval }
        }),
        2 => amount().prop_map(move |amount_cents| Command::Withdraw { order: order(), amount_cents, currency: None }),
        3 => amount().prop_map(move |amount_cents| Command::Refund { order: order(), amount_cents, reason: None }),
        3 => (refund(), amount()).prop_map(move |(refund, amount_cents)| {
            Command::RequestRefund { order: order(), refund, amount_cents, reason: None }
        }),
        6 => (refund(), 1u64..4).prop_map(move |(refund, approver)| {
            let approver = Approver { id: approver.into() };
            Command::ApproveRefund { order: order(), refund, approver }
        }),
    ]
}

fn context() -> Context {
    Context {
        command_id: "command".into(),
        entity: "1".into(),
        correlation_id: "command".into(),
        ..Context::default()
    }
}

proptest! {
    #[test]
    fn whatever_is_asked_the_money_is_right(commands in prop::collection::vec(command(), 0..80)) {
        // The order is placed and paid first, so that few sequences are idle.
        let order = || Order { id: 1.into() };
        let text = Text::try_from("a desk".to_owned()).expect("it is a text");
        let lines = vec![Line { item: text, amount_cents: Amount::new(300_00) }];
        let front = [
            Command::PlaceOrder { order: order(), lines, currency: None, needs_approval: None },
            Command::Withdraw { order: order(), amount_cents: Amount::new(300_00), currency: None },
        ];
        let mut events = Vec::new();
        let mut payment = Payment::default();
        for command in front.into_iter().chain(commands) {
            let Ok(decided) = payment.decide(command, &context()) else { continue };
            for event in decided {
                payment.evolve(event.clone());
                events.push(event);
            }
            payment = Payment::restore(&payment.snapshot().expect("it has one")).expect("it is read");
        }

        let withdrawals = events.iter().filter(|event| matches!(event, Event::PaymentWithdrawn(_))).count();
        prop_assert_eq!(withdrawals, 1);
        let paid: Vec<&RefundPaid> =
            events.iter().filter_map(|event| if let Event::RefundPaid(paid) = event { Some(paid) } else { None }).collect();
        let sum = |paid: &mut dyn Iterator<Item = &&RefundPaid>| paid.map(|paid| Cents::from(paid.amount_cents).get()).sum::<u64>();
        prop_assert!(sum(&mut paid.iter()) <= 300_00);
        prop_assert!(sum(&mut paid.iter().filter(|paid| paid.refund.is_none())) <= 100_00);
        for refund in (1..4).map(|id| Refund { id: u64::into(id) }) {
            let times = paid.iter().filter(|paid| paid.refund.as_ref() == Some(&refund)).count();
            let mut approvers: Vec<Id> = events.iter().filter_map(|event| match event {
                Event::RefundApproved(approved) if approved.refund == refund => Some(approved.approver.id.clone()),
                _ => None,
            }).collect();
            let approvals = approvers.len();
            approvers.sort();
            approvers.dedup();
            prop_assert_eq!(approvals, approvers.len(), "a person approves once");
            prop_assert!(approvals <= 2);
            prop_assert_eq!(times, usize::from(approvals == 2), "it is paid exactly when two have approved");
        }
    }
}
