// Adds ten jobs of each kind.
import { randomUUID } from 'node:crypto'
import { runMigrations } from 'graphile-worker'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { addJob, createTables } from './jobs.js'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
const db = new Kysely({ dialect: new PostgresDialect({ pool }) })
await runMigrations({ connectionString: process.env.DATABASE_URL })
await createTables(db)
for (let n = 1; n <= 10; n++) {
  await addJob(db, 'summarize', { id: randomUUID(), prompt: `text ${n}` })
  await addJob(db, 'ask_model', { id: randomUUID(), prompt: `question ${n}` })
}
await db.destroy()
console.log('added 20 jobs')
