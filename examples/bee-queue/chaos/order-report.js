import { setTimeout as delay } from 'node:timers/promises'
import { note } from '@holdfast/chaos/harm'

/**
 * Posts a request and waits for its report, whether the API answers with it at once or is asked for it later. False when
 * it gave up waiting.
 */
export async function orderReport(api, { number, giveUp }) {
  const topic = `topic ${number}`
  let response = await fetch(`${api}/reports`, { method: 'POST', body: JSON.stringify({ topic }) })
  let body = /** @type {any} */ (await response.json())
  const { id } = body
  while (response.status === 202 && !giveUp.aborted) {
    await delay(500)
    response = await fetch(`${api}/reports/${id}`)
    body = await response.json()
  }
  if (response.status === 202) return false
  if (body.report !== `All about ${topic}.`) {
    throw new Error(`The API answered ${response.status} ${JSON.stringify(body)} to ${topic}.`)
  }
  note('answered', { job: id })
  return true
}
