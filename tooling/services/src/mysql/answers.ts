import { firstBytes } from '../first-bytes.js'

const HEADER_LENGTH = 4
const HANDSHAKE_10 = 10

/** The server speaks first: a handshake when it takes connections, an error packet when it does not yet. */
export async function mysqlAnswers(port: number): Promise<boolean> {
  const greeting = await firstBytes(port)
  return greeting?.[HEADER_LENGTH] === HANDSHAKE_10
}
