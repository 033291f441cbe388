// How jobs are added, and where their answers are.
import { sql } from 'kysely'

export async function createTables(db) {
  await sql`create table if not exists requests (id text primary key)`.execute(db)
  await sql`create table if not exists summaries (id text primary key, text text not null)`.execute(db)
  // Nothing here keeps out a second answer.
  await sql`create table if not exists answers (id text not null, text text not null)`.execute(db)
}

/**
 * Adds a job, once however often it is called with the same id: so call it again when the database went away and nobody
 * knows what became of the last call. A job key alone is free again as soon as the job has ended, or is handed off.
 */
export async function addJob(db, task, payload) {
  await sql`
    with request as (insert into requests (id) values (${payload.id}) on conflict do nothing returning id)
    select graphile_worker.add_job(${task}, ${JSON.stringify(payload)}::json, job_key => id) from request
  `.execute(db)
}
