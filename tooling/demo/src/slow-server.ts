// A process: the slow HTTP service that the jobs call.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { LATENCY } from './settings.js'

// Ctrl-C reaches the whole process group; the demo ends this process when it has no more use for it.
process.on('SIGINT', () => undefined)
process.on('disconnect', () => process.exit())

const server = createServer((request, response) => {
  const latency = LATENCY.min + Math.random() * (LATENCY.max - LATENCY.min)
  const timer = setTimeout(() => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ path: request.url, latency: Math.round(latency) }))
  }, latency)
  response.on('close', () => clearTimeout(timer))
})
// Closed in the moment a worker reuses it, an idle connection would fail that worker's call.
server.keepAliveTimeout = 600_000
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  process.send?.({ type: 'ready', url: `http://127.0.0.1:${port}` })
})
