//! The lists of claims, and the macros that make a test of each.

/// Makes one test of each claim on a store. Give it the [`StoreFixture`](crate::StoreFixture).
#[macro_export]
macro_rules! store_suite {
    ($fixture:ty) => {
        #[test]
        fn the_store_does_what_the_model_does() {
            $crate::machine::run::<$fixture>();
        }

        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), accept in store::accept:
            a_plan_is_visible_after_its_commit_only,
            a_transaction_dropped_before_its_commit_leaves_nothing,
            a_transaction_dropped_at_any_step_lets_the_next_one_in,
            what_does_not_exist_is_absent_from_a_load,
            an_empty_load_tells_the_time,
            a_load_reads_what_was_written,
            a_key_that_is_written_again_is_replaced,
            keys_differ_by_client_kind_and_each_character,
            one_refused_row_refuses_the_whole_plan,
            a_seq_is_given_once,
            a_negative_balance_is_refused,
            a_message_without_a_part_is_refused,
            an_empty_plan_changes_nothing,
            a_transaction_writes_as_many_messages_as_a_batch_holds,
            heads_hold_the_largest_amounts,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), claim in store::claim:
            a_claim_takes_a_due_message_and_moves_its_fence,
            only_queued_and_failed_temp_messages_can_be_claimed,
            a_message_is_claimed_from_its_due_time_until_its_validity_ends,
            a_claim_leaves_out_what_it_cannot_take,
            a_claimed_message_comes_with_its_whole_content,
            many_workers_claim_each_message_once,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), outcome in store::outcome:
            a_change_with_a_wrong_fence_is_a_conflict_and_writes_nothing,
            a_lock_leaves_held_once,
            a_claim_in_between_makes_the_write_a_conflict,
            an_accepted_attempt_is_announced_and_held_until_it_is_delivered,
            money_moves_by_the_clients_policy,
            outcomes_of_many_messages_are_one_transaction,
            an_outcome_after_the_lease_is_void,
            an_unknown_outcome_is_resent_only_if_the_client_asked_for_it,
            a_message_that_fails_to_the_end_is_a_dead_letter_and_costs_nothing,
            a_message_is_canceled_while_no_attempt_has_it,
            a_load_sees_what_the_claim_wrote,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), reports in store::reports:
            a_report_is_stored_once,
            reports_that_differ_in_any_name_are_different,
            a_report_reads_back_as_it_was_stored,
            a_report_waits_until_its_reference_is_bound,
            a_report_after_its_binding_is_pending_at_once,
            references_of_parts_name_their_part,
            an_echo_of_our_reference_needs_no_binding_and_is_believed_first,
            the_newest_binding_of_a_reference_wins,
            a_binding_is_not_seen_before_its_commit,
            references_belong_to_one_provider,
            pending_reports_come_in_order_and_by_pages,
            a_report_that_is_dealt_with_is_not_pending,
            a_stored_duplicate_does_not_wake_a_report_that_is_dealt_with,
            an_unmatched_report_stays,
            a_report_is_applied_once_by_racing_appliers,
            a_report_that_races_its_submit_is_applied_by_whoever_is_second,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), unmatched in store::unmatched:
            only_a_report_whose_message_is_unknown_is_unmatched,
            a_report_is_matched_as_soon_as_its_reference_is_bound,
            unmatched_reports_are_listed_newest_first_and_by_provider,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), timers in store::timers:
            a_timer_is_due_from_its_time_on,
            due_timers_come_earliest_first_and_no_more_than_asked,
            a_moved_timer_fires_at_its_new_time_only,
            messages_that_share_a_time_have_a_timer_each,
            every_status_has_the_one_timer_that_its_state_names,
            no_timer_is_left_when_all_is_final,
            a_sweep_offers_what_is_due_and_waits_longer_each_time,
            a_scheduled_message_is_queued_at_its_time,
            the_backlog_is_what_could_be_claimed_now,
            the_backlog_is_read_in_pages_without_a_repeat_or_a_gap,
            the_backlog_names_the_offer_that_a_sweep_makes,
            the_backlog_is_offered_once_to_each_queue_that_begins,
            nodes_offer_the_backlog_together_and_each_message_once,
            where_another_queue_begins_meanwhile_each_is_offered_the_whole_backlog,
            how_far_a_queue_was_restocked_is_replaced_by_one_node_only,
            a_sweep_offers_to_a_long_lane_what_the_backlog_has_not_come_to,
            a_long_lane_is_not_offered_what_it_has_until_that_is_long_ago,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), view in store::view:
            another_clients_rows_read_as_absent,
            events_are_read_after_a_position_with_the_ends_of_the_log,
            several_pages_at_once_are_those_of_each_alone,
            a_history_is_one_messages_chain_of_events,
            a_history_reads_as_far_back_as_the_log_is_kept,
            the_newest_seqs_are_those_of_the_clients_asked_for,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), search in store::search:
            messages_are_listed_newest_first_by_pages,
            each_filter_of_messages_counts_alone,
            messages_of_one_millisecond_are_told_apart_by_their_time,
            filters_of_messages_combine,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), transactions in store::transactions:
            transactions_are_filtered_newest_first,
            totals_are_the_sums_of_the_transactions_listed,
            credit_is_adjusted_up_and_down_and_the_books_stay_clean,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), dead_letters in store::dead_letters:
            a_message_that_is_given_up_is_listed_with_its_failure,
            dead_letters_are_listed_newest_first_and_filtered,
            the_dead_letters_of_messages_are_those_asked_for,
            a_dead_letter_is_sent_again_once,
            a_second_replay_is_a_conflict_and_writes_nothing,
            racing_replays_make_one_message,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), clients in store::clients:
            a_new_client_has_an_empty_log_and_no_credit,
            a_client_is_made_once,
            a_key_makes_one_client_and_answers_it_ever_after,
            racing_calls_under_one_key_make_one_client,
            a_changed_client_reads_back_with_its_next_revision,
            a_change_is_a_conflict_unless_it_knows_the_last_one,
            racing_changes_are_made_one_after_the_other,
            clients_are_listed_ascending_and_filtered,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), keys in store::keys:
            an_api_key_reads_back_and_is_made_once,
            api_keys_are_listed_by_client_or_all,
            a_rotated_key_never_lives_longer,
            a_rotation_is_whole_or_nothing,
            a_key_is_revoked_once,
            racing_revocations_leave_one_entry,
            the_last_use_of_a_key_never_goes_back,
            a_provider_key_reads_back_and_is_made_once,
            provider_keys_are_listed_by_provider_and_id,
            a_provider_key_is_revoked_once,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), admin in store::admin:
            rates_are_inserted_or_replaced,
            rates_are_removed_by_currency_and_prefix,
            a_secret_is_the_same_for_every_caller,
            the_log_has_one_epoch,
            a_renewed_epoch_is_another_on_every_node,
            time_never_goes_back,
            a_store_that_answers_says_so,
        }
        mod unmigrated {
            use super::*;
            $crate::claims! {
            <$fixture as bench::StoreFixture>::empty, (flavor = "multi_thread", worker_threads = 4), admin in store::admin:
                several_nodes_migrate_at_once_and_again,
            }
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), audit_log in store::audit_log:
            every_field_of_an_entry_reads_back,
            an_entry_is_written_once,
            a_change_and_its_entry_stand_together,
            a_change_whose_entry_is_refused_does_not_stand,
            a_plan_and_its_entries_stand_together,
            a_top_up_and_its_entry_stand_together,
            entries_are_listed_newest_first_and_filtered,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), audit in store::audit:
            the_books_are_clean_after_real_use,
            the_books_go_on_from_a_checkpoint,
            a_head_that_left_the_log_shows,
            a_gap_in_the_log_shows,
            a_balance_that_does_not_follow_from_the_one_before_shows,
            a_final_message_that_still_holds_credit_shows,
            a_lock_that_was_resolved_without_an_event_shows,
            a_hold_without_a_lock_of_its_amount_shows,
            credit_that_is_resolved_twice_shows,
            open_messages_past_their_limits_are_counted,
            one_clients_damage_is_not_anothers,
            a_checkpoint_never_goes_back,
            events_are_trimmed_up_to_the_checkpoint_and_no_further,
            old_rows_are_purged_and_young_ones_stay,
            a_key_is_remembered_for_its_lifetime_and_no_longer,
            a_reference_that_is_bound_again_is_young_again,
            a_lease_in_flight_is_not_late,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), retention in store::retention:
            everything_is_kept_for_ever_until_an_operator_says_otherwise,
            old_messages_come_in_the_order_of_their_accept,
            only_a_message_that_is_over_is_removed,
            a_removed_message_leaves_nothing_but_its_events,
            the_books_are_clean_after_a_removal,
            old_audit_entries_go_oldest_first,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), round_trip in store::round_trip:
            every_field_of_a_client_reads_back,
            every_field_of_a_message_reads_back,
            every_field_of_a_state_reads_back,
            every_state_of_a_lock_reads_back,
            every_field_of_an_event_reads_back,
            every_field_of_a_remembered_call_reads_back,
            every_field_of_a_dead_letter_reads_back,
            a_message_dies_once,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), inbox in store::inbox:
            reports_are_acknowledged_once_they_are_stored,
            a_poison_report_is_given_up_and_its_neighbours_are_stored,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), concurrency in store::concurrency:
            a_second_transaction_on_a_client_waits_and_sees_what_the_first_wrote,
            a_reader_does_not_wait_for_a_writer,
            many_writers_of_one_client_lose_no_update_and_leave_no_gap,
            writers_of_overlapping_clients_neither_block_each_other_for_ever_nor_mix,
            a_log_is_read_without_a_gap_while_it_grows,
            a_message_is_claimed_or_expired_never_both,
            a_message_is_claimed_or_canceled_never_both,
            an_outcome_and_a_timer_that_meet_move_the_money_once,
            a_trim_and_a_growing_log_do_not_undo_each_other,
            a_suspension_is_not_undone_by_a_transaction_that_was_open,
            batches_of_two_nodes_for_one_key_make_one_message,
            messages_of_one_client_are_locked_without_deadlock,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), use_case in store::use_case:
            racing_duplicates_make_one_message_and_one_receipt,
            credit_for_a_hundred_accepts_exactly_a_hundred,
            a_poison_item_fails_alone,
            a_replay_is_the_first_answer_whatever_became_of_the_message,
            a_key_may_be_used_again_after_its_day,
            what_is_refused_leaves_its_key_free,
            racing_top_ups_of_one_key_are_booked_once,
        }
        $crate::claims! {
            <$fixture as bench::StoreFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), gate in store::gate:
            what_is_committed_under_a_key_is_told_to_the_limiter,
            a_call_that_the_limiter_remembers_is_answered_without_a_transaction_and_without_rate,
            a_copy_of_a_message_that_is_not_there_leaves_the_decision_to_the_store,
            a_replay_without_a_copy_passes_a_limiter_that_refuses,
            a_send_over_the_rate_is_refused_and_leaves_its_key_free,
            what_costs_nothing_gives_its_rate_back,
        }
    };
}

/// Makes one test of each claim on a queue. Give it the [`QueueFixture`](crate::queue::QueueFixture).
#[macro_export]
macro_rules! queue_suite {
    ($fixture:ty) => {
        $crate::claims! {
            <$fixture as queue::QueueFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), queue in queue:
            what_is_offered_is_taken,
            a_taker_waits_for_an_offer,
            no_more_is_taken_than_asked_for,
            a_lane_carries_its_own_ids_only,
            a_dropped_ticket_comes_back_to_somebody,
            a_ticket_that_is_done_does_not_come_back,
            a_held_ticket_is_nobody_elses,
            a_dropped_wait_takes_nothing,
            an_id_that_is_offered_again_is_given_once_or_once_an_offer,
            the_next_offer_of_an_id_that_was_done_is_given,
            an_offer_that_is_made_twice_is_given_once_or_twice,
            many_takers_share_what_is_offered,
            what_waits_is_counted,
            a_queue_tells_of_its_beginning_once,
        }
    };
}

/// Makes one test of each claim on a bell. Give it the [`BellFixture`](crate::bell::BellFixture).
#[macro_export]
macro_rules! bell_suite {
    ($fixture:ty) => {
        $crate::claims! {
            <$fixture as bell::BellFixture>::fresh, (flavor = "multi_thread", worker_threads = 4), bell in bell:
            a_ring_wakes_a_waiter,
            a_bell_that_is_not_rung_is_silent,
            a_dropped_wait_does_not_deafen_the_next,
            merged_rings_tell_the_newest_seq,
            many_ringers_are_all_heard,
        }
    };
}

/// Makes one test of each claim on a limiter. Give it the [`LimiterFixture`](crate::limiter::LimiterFixture).
#[macro_export]
macro_rules! limiter_suite {
    ($fixture:ty) => {
        $crate::claims! {
            <$fixture as limiter::LimiterFixture>::fresh, (flavor = "current_thread"), limiter in limiter:
            a_new_bucket_gives_its_burst_and_then_says_when,
            all_of_a_message_is_taken_or_none,
            clients_have_buckets_of_their_own,
            a_bucket_fills_at_its_rate_up_to_its_burst,
            a_message_larger_than_the_bucket_passes_when_it_is_full,
            what_is_given_back_can_be_taken_again_but_no_more,
            new_settings_hold_from_the_next_call_on,
            a_client_without_a_limit_always_passes,
            racing_callers_get_the_burst_and_no_more,
        }
    };
}

/// Makes one test of each claim on a limiter that nodes share. Give it the
/// [`SharedLimiterFixture`](crate::shared_limiter::SharedLimiterFixture).
#[macro_export]
macro_rules! shared_limiter_suite {
    ($fixture:ty) => {
        $crate::claims! {
            <$fixture as shared_limiter::SharedLimiterFixture>::shared, (flavor = "current_thread"), shared_limiter in shared_limiter:
            nodes_share_one_bucket,
            what_one_node_gives_back_another_can_take,
            a_copy_answers_the_same_request_on_any_node,
            a_copy_answers_no_other_request,
            a_copy_of_another_history_of_the_log_answers_nothing,
            a_remembered_call_takes_no_tokens,
            copies_differ_by_client_and_each_character_of_the_key,
            a_key_that_is_used_again_has_its_newest_copy,
            only_what_made_a_message_is_copied,
            racing_repeats_of_a_remembered_call_all_get_its_message,
        }
    };
}

/// One test for each claim named, in a module of its own.
#[doc(hidden)]
#[macro_export]
macro_rules! claims {
    (
        <$fixture:ty as $($trait:ident)::+>::$make:ident, $runtime:tt, $module:ident in $($path:ident)::+:
        $($claim:ident,)+
    ) => {
        mod $module {
            use $crate::$($path)::+ as claims;
            use $crate::$($trait)::+ as Fixture;

            use super::*;

            $(
                #[tokio::test $runtime]
                async fn $claim() {
                    claims::$claim(<$fixture as Fixture>::$make().await).await;
                }
            )+
        }
    };
}
