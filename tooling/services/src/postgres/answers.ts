import { firstBytes } from '../first-bytes.js'

const PROTOCOL_3 = 196_608
const AUTHENTICATION = 'R'.charCodeAt(0)

/** A start-up message as a client sends it. While Postgres still recovers, it answers with an error. */
export async function postgresAnswers(port: number, database = 'postgres'): Promise<boolean> {
  const parameters = Buffer.from(
    `user\0postgres\0database\0${database}\0application_name\0holdfast-services\0\0`,
  )
  const head = Buffer.alloc(8)
  head.writeInt32BE(head.length + parameters.length, 0)
  head.writeInt32BE(PROTOCOL_3, 4)
  const answer = await firstBytes(port, Buffer.concat([head, parameters]))
  return answer?.[0] === AUTHENTICATION
}
