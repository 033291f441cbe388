// Your tasks, as they are: Holdfast changes nothing in them.
import { setTimeout as delay } from 'node:timers/promises'

export async function sendEmail({ to }) {
  await delay(5_000)
  console.log(`sent to ${to}`)
}

export async function askModel({ prompt }, { abortSignal }) {
  await delay(5_000, null, { signal: abortSignal })
  console.log(`answered ${prompt}`)
}
