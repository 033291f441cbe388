import { setTimeout as delay } from 'node:timers/promises'
import { note } from '../ledger.js'

/**
 * Keeps `width` requests in flight until `signal` aborts, and then waits for those. Each has its report in the end,
 * whether the API answers with it at once or is asked for it later; `giveUp` ends the waiting.
 */
export async function produce({ api, width, signal, giveUp, onOrdered, onAnswered }) {
  let number = 0
  async function one() {
    const topic = `topic ${++number}`
    onOrdered()
    let response = await fetch(`${api}/reports`, { method: 'POST', body: JSON.stringify({ topic }) })
    let body = /** @type {any} */ (await response.json())
    const { id } = body
    while (response.status === 202 && !giveUp.aborted) {
      await delay(500)
      response = await fetch(`${api}/reports/${id}`)
      body = await response.json()
    }
    if (response.status === 202) return
    if (body.report !== `All about ${topic}.`) {
      throw new Error(`The API answered ${response.status} ${JSON.stringify(body)} to ${topic}.`)
    }
    note('answered', { job: id })
    onAnswered()
  }
  const loop = async () => {
    while (!signal.aborted) await one()
  }
  await Promise.all(Array.from({ length: width }, loop))
}
