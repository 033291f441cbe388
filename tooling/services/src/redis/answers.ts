import { firstBytes } from '../first-bytes.js'

/** While Redis still loads its data it answers with `-LOADING`. */
export async function redisAnswers(port: number): Promise<boolean> {
  const answer = await firstBytes(port, Buffer.from('PING\r\n'))
  return answer?.toString().startsWith('+PONG') ?? false
}
