// The primary of a node:cluster whose workers each run graphile-worker with Holdfast.
import cluster from 'node:cluster'
import { fileURLToPath } from 'node:url'

cluster.setupPrimary({ exec: fileURLToPath(new URL('./worker.mjs', import.meta.url)) })
cluster.on('message', ({ process: { pid } }, message: { type: string }) => process.send!({ ...message, pid }))
// As clusters do: whoever dies is replaced.
cluster.on('exit', () => cluster.fork())
for (let n = 0; n < 2; n++) cluster.fork()
process.on('message', (message) => {
  if (typeof message === 'number') process.kill(message, 'SIGKILL')
})
