// Adds five jobs of one kind and twenty of the other.
import pg from 'pg'
import PgBoss from 'pg-boss'

const { DATABASE_URL } = process.env

const client = new pg.Client(DATABASE_URL)
await client.connect()
await client.query('create table if not exists reports (job text, report text)')
await client.end()

const boss = new PgBoss(DATABASE_URL)
await boss.start()
for (const [queue, count] of Object.entries({ digests: 5, reports: 20 })) {
  await boss.createQueue(queue)
  for (let n = 1; n <= count; n++) await boss.send(queue, { topic: `topic ${n}` })
}
await boss.stop()
console.log('added 25 jobs')
