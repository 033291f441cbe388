import { Queue, QueueEvents } from 'bullmq'

const connection = { url: process.env.REDIS_URL }
const queue = new Queue('reports', { connection })
const events = new QueueEvents('reports', { connection })
await events.waitUntilReady()

const jobs = await queue.addBulk(
  [1, 2, 3, 4, 5, 6, 7, 8].map((n) => ({ name: 'report', data: { topic: `bulls ${n}` } })),
)
console.log('added')
await Promise.all(jobs.map(async (job) => console.log(`${job.id}: ${await job.waitUntilFinished(events)}`)))
await events.close()
await queue.close()
