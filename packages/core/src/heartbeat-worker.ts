// The heartbeat thread: beats on a connection of its own for as long as the main thread's event loop is not blocked for
// longer than it may be.
import { workerData } from 'node:worker_threads'
import { BeatSender } from './beat-sender.js'
import { monotonicNow } from './clock.js'
import { messageOf } from './events.js'
import { openHeartbeatDatabase } from './heartbeat-database.js'
import {
  type HeartbeatOrder,
  type HeartbeatReport,
  type HeartbeatThreadData,
  sharedNow,
} from './heartbeat-protocol.js'
import { blockedFor } from './loop-clock.js'
import { beat } from './store/processes.js'
import { openStore, type Store } from './store/store.js'

const { connection, application, place, times, lastRun, port, ...first } = workerData as HeartbeatThreadData
let { processId } = first

const sender = new BeatSender(times)
const report = (what: HeartbeatReport): void => port.postMessage(what)

async function beatOnce(store: Store): Promise<void> {
  if (blockedFor(lastRun) > times.maxLoopBlock) return
  const id = processId
  try {
    await sender.send(
      `a heartbeat of ${id} from its thread`,
      () => beat(store, id, times.orphanThreshold),
      async (sentAt, answer) => {
        const databaseMs = answer ?? null
        // This thread's monotonic clock began at another time than the main thread's.
        report({ kind: 'beat', processId: id, sentAt: sentAt + sharedNow() - monotonicNow(), databaseMs })
      },
    )
  } catch (error) {
    report({ kind: 'failed', processId: id, error: messageOf(error) })
  }
}

async function run(): Promise<void> {
  const db = await openHeartbeatDatabase(connection, application)
  const store = openStore(db, place)
  const timer = setInterval(() => void beatOnce(store), times.heartbeatInterval)
  port.on('message', (order: HeartbeatOrder) => {
    if (order.kind === 'beat') {
      processId = order.processId
      return
    }
    clearInterval(timer)
    port.close()
    void db.destroy()
  })
  await beatOnce(store)
}

// Rejects where there is no connection to be made: that ends the thread, and the main thread hears why.
void run()
