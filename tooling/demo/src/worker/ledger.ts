import type { AnyDatabase } from '@holdfast/chaos'

/** One run of a job. */
export interface Run {
  readonly job: number
  readonly attempt: number
  /** The Holdfast process whose protection it runs under. */
  readonly processId: string | null
}

/** Writes down what handlers do. */
export class Ledger {
  readonly #worker: string

  constructor(worker: string) {
    this.#worker = worker
  }

  async write(db: AnyDatabase, what: 'start' | 'finish' | 'fail', run: Run): Promise<void> {
    const { job, attempt, processId } = run
    const entry = { what, job, attempt, process_id: processId, worker: this.#worker }
    await db.insertInto('ledger').values(entry).execute()
  }
}
