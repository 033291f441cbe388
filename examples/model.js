// Stands in for a language model: it takes its time to answer.
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'

const { PORT = 4000, LATENCY = 8_000 } = process.env

const server = createServer(async (request, response) => {
  const topic = await text(request).catch(() => undefined) // whoever asked is gone
  const latency = Number(LATENCY) * (0.5 + Math.random() / 2)
  const timer = setTimeout(() => response.end(`All about ${topic}.`), latency)
  response.on('close', () => clearTimeout(timer))
})
server.listen(Number(PORT), '127.0.0.1', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  console.log(`model on http://127.0.0.1:${port}`)
})
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit())
