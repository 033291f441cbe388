import { type Kysely, sql } from 'kysely'

export interface TaskRow {
  readonly processId: string
  readonly jobRef: string | null
  readonly lastError: string | null
  /** Its recovery was tried, or put off, and is tried again later. */
  readonly postponed: boolean
}

export interface RecoveryRow {
  readonly jobRef: string | null
  readonly newJobRef: string | null
  readonly outcome: string
  readonly fromProcess: string
}

/** What Holdfast's own tables say. */
export class Records {
  // biome-ignore lint/suspicious/noExplicitAny: any schema
  constructor(private readonly db: Kysely<any>) {}

  async tasks(): Promise<TaskRow[]> {
    const { rows } = await sql<Omit<TaskRow, 'postponed'> & { retryAt: Date | null }>`
      select process_id as ${sql.id('processId')}, job_ref as ${sql.id('jobRef')}, last_error as ${sql.id('lastError')},
        retry_at as ${sql.id('retryAt')}
      from holdfast_tasks order by process_id, id`.execute(this.db)
    return rows.map(({ retryAt, ...row }) => ({ ...row, postponed: retryAt !== null }))
  }

  async tasksOf(processId: string): Promise<TaskRow[]> {
    return (await this.tasks()).filter((row) => row.processId === processId)
  }

  /** How many task rows have this text in their payload. */
  async withText(text: string): Promise<number> {
    const { rows } = await sql`
      select 1 as found from holdfast_tasks where payload like ${`%${text}%`}`.execute(this.db)
    return rows.length
  }

  /** Oldest first. */
  async recoveries(): Promise<RecoveryRow[]> {
    return (
      await sql<RecoveryRow>`
        select job_ref as ${sql.id('jobRef')}, new_job_ref as ${sql.id('newJobRef')}, outcome,
          from_process as ${sql.id('fromProcess')}
        from holdfast_recoveries order by recovered_at`.execute(this.db)
    ).rows
  }

  async quarantine(): Promise<{ id: string; jobRef: string | null; reason: string }[]> {
    return (
      await sql<{ id: string; jobRef: string | null; reason: string }>`
        select id, job_ref as ${sql.id('jobRef')}, reason from holdfast_quarantine`.execute(this.db)
    ).rows
  }

  /** How often each job crashed. */
  async crashes(): Promise<Map<string, number>> {
    const { rows } = await sql<{ ref: string; count: number }>`
      select job_ref as ref, count from holdfast_crashes`.execute(this.db)
    return new Map(rows.map(({ ref, count }) => [ref, Number(count)]))
  }

  /** Has a job, under the name that its adapter has, been in flight in so many dying processes. */
  async crashed(queue: string, jobRef: string, count: number): Promise<void> {
    await sql`insert into holdfast_crashes (queue, job_ref, count, last_crash_at)
      values (${queue}, ${jobRef}, ${count}, current_timestamp)`.execute(this.db)
  }

  /** Declares a process dead, as another that judges it would. */
  async declareDead(processId: string): Promise<void> {
    await sql`update holdfast_processes set state = 'dead' where process_id = ${processId}`.execute(this.db)
  }

  /** The task row of a job, to be put back under a process that nobody knows, as one whose end was never written. */
  async copyOf(jobRef: string): Promise<{ restore(processId: string): Promise<void> }> {
    const { rows } = await sql<{ id: string; queue: string; payload: string }>`
      select id, queue, payload from holdfast_tasks where job_ref = ${jobRef}`.execute(this.db)
    const [row] = rows
    if (row === undefined) throw new Error(`no task has the jobRef ${jobRef}`)
    return {
      restore: async (processId) => {
        await sql`insert into holdfast_tasks (process_id, nonce, id, queue, job_ref, payload, created_at, attempts)
          values (${processId}, 1, ${row.id}, ${row.queue}, ${jobRef}, ${row.payload}, current_timestamp, 0)`.execute(
          this.db,
        )
      },
    }
  }

  /** Makes the payload of a task one that no adapter knows. */
  async spoil(jobRef: string): Promise<void> {
    const payload = JSON.stringify({ nothing: 'of any adapter' })
    await sql`update holdfast_tasks set payload = ${payload} where job_ref = ${jobRef}`.execute(this.db)
  }

  async state(processId: string): Promise<string | undefined> {
    const { rows } = await sql<{ state: string }>`
      select state from holdfast_processes where process_id = ${processId}`.execute(this.db)
    return rows[0]?.state
  }
}
