import { setTimeout as delay } from 'node:timers/promises'
import { note } from '@holdfast/chaos/harm'
import { sql } from 'kysely'
import { addJob } from '../jobs.js'

/** Adds jobs of both kinds, and sees when they are over: the right answer is there and graphile-worker has forgotten them. */
export class Orders {
  #db
  #inFlight = new Set()
  #look

  constructor(db) {
    this.#db = db
  }

  async answer({ number, lane, giveUp }) {
    const task = lane % 2 === 0 ? 'summarize' : 'ask_model'
    const id = `${task} ${number}`
    await patiently(() => addJob(this.#db, task, { id, prompt: id }))
    note('added', { job: id, task })
    this.#inFlight.add(id)
    while (!giveUp.aborted) {
      this.#look ??= this.#lookSoon()
      if (!(await this.#look).has(id)) continue
      note('over', { job: id })
      this.#inFlight.delete(id)
      return true
    }
    return false
  }

  /** One look for all that wait. */
  async #lookSoon() {
    await delay(200)
    this.#look = undefined
    return patiently(() => over(this.#db, [...this.#inFlight]))
  }
}

/** Which of these jobs are over. */
export async function over(db, ids) {
  const { rows } = await sql`
    select id from requests
    where id = any(${ids}) and not exists (select from graphile_worker.jobs where key = requests.id)
      and exists (
        select from (table summaries union all table answers) as written
        where written.id = requests.id and text = 'All about ' || requests.id || '.')
  `.execute(db)
  return new Set(rows.map((row) => /** @type {any} */ (row).id))
}

/** Postgres may be away for a while. */
async function patiently(work) {
  const end = performance.now() + 30_000
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (performance.now() > end) throw error
      await delay(200)
    }
  }
}
