import type { Migration } from './migration.js'

/** The tables of the first version. What each is for: docs/architecture.md, "Tables". */
export const init: Migration = {
  id: '0001_init',
  breaking: false,
  tables: ({ types }, table, name) => {
    const { id, text, time } = types
    return [
      // No secondary index, so that heartbeats never touch one.
      table('processes')
        .addColumn('process_id', id, (c) => c.primaryKey())
        .addColumn('state', id, (c) => c.notNull())
        .addColumn('hostname', text, (c) => c.notNull())
        .addColumn('pid', 'integer', (c) => c.notNull())
        .addColumn('label', text)
        .addColumn('version', text, (c) => c.notNull())
        .addColumn('capacity', 'integer')
        .addColumn('heartbeat_interval_ms', 'integer', (c) => c.notNull())
        .addColumn('orphan_threshold_ms', 'integer', (c) => c.notNull())
        .addColumn('beat', 'bigint', (c) => c.notNull())
        .addColumn('epoch', 'bigint', (c) => c.notNull())
        .addColumn('started_at', time, (c) => c.notNull())
        .addColumn('last_seen_at', time, (c) => c.notNull())
        .addColumn('lease_expires_at', time, (c) => c.notNull()),
      table('tasks')
        .addColumn('process_id', id, (c) => c.notNull())
        .addColumn('nonce', 'bigint', (c) => c.notNull())
        .addColumn('id', id, (c) => c.notNull())
        .addColumn('queue', id, (c) => c.notNull())
        .addColumn('job_ref', id)
        .addColumn('job_attempt', 'bigint', (c) => c.notNull().defaultTo(0))
        .addColumn('payload', text, (c) => c.notNull())
        .addColumn('on_crash', id)
        .addColumn('ending', 'integer')
        .addColumn('ended', 'integer')
        .addColumn('created_at', time, (c) => c.notNull())
        .addColumn('progress_at', time)
        .addColumn('claimed_by', id)
        .addColumn('claim_token', id)
        .addColumn('claim_expires_at', time)
        .addColumn('attempts', 'integer', (c) => c.notNull())
        .addColumn('retry_at', time)
        .addColumn('last_error', text)
        .addColumn('crashes', 'integer')
        .addPrimaryKeyConstraint(name('tasks_pk'), ['process_id', 'nonce'])
        .addUniqueConstraint(name('tasks_job'), ['queue', 'job_ref']),
      table('locks')
        .addColumn('name', id, (c) => c.primaryKey())
        .addColumn('holder', id)
        .addColumn('term', 'bigint', (c) => c.notNull())
        .addColumn('acquired_at', time)
        .addColumn('expires_at', time)
        .addColumn('last_run_at', time),
      table('crashes')
        .addColumn('queue', id, (c) => c.notNull())
        .addColumn('job_ref', id, (c) => c.notNull())
        .addColumn('count', 'integer', (c) => c.notNull())
        .addColumn('last_crash_at', time, (c) => c.notNull())
        .addPrimaryKeyConstraint(name('crashes_pk'), ['queue', 'job_ref']),
      table('quarantine')
        .addColumn('id', id, (c) => c.primaryKey())
        .addColumn('task_id', text, (c) => c.notNull())
        .addColumn('process_id', id, (c) => c.notNull())
        .addColumn('queue', id, (c) => c.notNull())
        .addColumn('job_ref', id)
        .addColumn('payload', text, (c) => c.notNull())
        .addColumn('reason', text, (c) => c.notNull())
        .addColumn('last_error', text, (c) => c.notNull())
        .addColumn('crashes', 'integer', (c) => c.notNull())
        .addColumn('quarantined_at', time, (c) => c.notNull()),
      table('recoveries')
        .addColumn('id', id, (c) => c.primaryKey())
        .addColumn('task_id', text, (c) => c.notNull())
        .addColumn('queue', id, (c) => c.notNull())
        .addColumn('job_ref', id)
        .addColumn('new_job_ref', id)
        .addColumn('from_process', id, (c) => c.notNull())
        .addColumn('by_process', id, (c) => c.notNull())
        .addColumn('cause', id, (c) => c.notNull())
        .addColumn('crashes', 'integer', (c) => c.notNull())
        .addColumn('outcome', id, (c) => c.notNull())
        .addColumn('recovered_at', time, (c) => c.notNull())
        .addColumn('orphaned_for_ms', 'bigint'),
    ]
  },
}
