// Your tasks. Each asks a model, which takes its time, and writes down what that says.
import { sql } from 'kysely'

/** Guarded: a task as it was before Holdfast. A job may run twice, so its answer is written in a way that allows it. */
export async function summarize({ id, prompt }, { query, abortSignal }) {
  const text = await ask(prompt, abortSignal)
  await query('insert into summaries (id, text) values ($1, $2) on conflict (id) do nothing', [id, text])
  console.log(`summarized ${prompt}`)
}

/** Handed off: the answer and the end of the job are one transaction, so there is never a second answer. */
export function askModel(db) {
  return async ({ id, prompt }, { task, abortSignal }) => {
    const text = await ask(prompt, abortSignal)
    await db.transaction().execute(async (trx) => {
      await sql`insert into answers (id, text) values (${id}, ${text})`.execute(trx)
      await task.complete({ trx })
    })
    console.log(`answered ${prompt}`)
  }
}

/** `signal` aborts when this process may be dead to the others, or shall end: they do it then. */
async function ask(prompt, signal) {
  const response = await fetch(process.env.MODEL_URL, { method: 'POST', body: prompt, signal })
  if (!response.ok) throw new Error(`The model answered with ${response.status}`)
  return response.text()
}
