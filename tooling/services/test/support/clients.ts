import { once } from 'node:events'
import { connect } from 'node:net'
import mysql from 'mysql2/promise'
import pg from 'pg'

/** The same few questions to every kind of server, by its real client. */
export interface Client {
  version(): Promise<string>
  write(value: string): Promise<void>
  read(): Promise<string | undefined>
}

export function clientOf(url: string): Client {
  if (url.startsWith('postgres:')) return postgresClient(url)
  return url.startsWith('redis:') ? redisClient(url) : mysqlClient(url)
}

export async function postgresQuery(url: string, text: string): Promise<Record<string, string>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  await client.connect()
  try {
    return (await client.query<Record<string, string>>(text)).rows
  } finally {
    await client.end()
  }
}

async function mysqlQuery(url: string, text: string): Promise<Record<string, string>[]> {
  const connection = await mysql.createConnection(url)
  try {
    const [rows] = await connection.query(text)
    return Array.isArray(rows) ? (rows as Record<string, string>[]) : []
  } finally {
    await connection.end()
  }
}

/** Sends one command in Redis's inline form and gives the first answer, as it comes. */
async function redisCommand(url: string, command: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) })
  try {
    await once(socket, 'connect')
    socket.write(`${command}\r\n`)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    return answer.toString()
  } finally {
    socket.destroy()
  }
}

function postgresClient(url: string): Client {
  return {
    version: async () => (await postgresQuery(url, 'show server_version'))[0]!.server_version!,
    write: async (value) => {
      await postgresQuery(url, 'create table if not exists notes (at serial, note text)')
      await postgresQuery(url, `insert into notes (note) values ('${value}')`)
    },
    read: async () => (await postgresQuery(url, 'select note from notes order by at desc limit 1'))[0]?.note,
  }
}

function mysqlClient(url: string): Client {
  return {
    version: async () => (await mysqlQuery(url, 'select version() as version'))[0]!.version!,
    write: async (value) => {
      await mysqlQuery(url, 'create table if not exists notes (at int auto_increment primary key, note text)')
      await mysqlQuery(url, `insert into notes (note) values ('${value}')`)
    },
    read: async () => (await mysqlQuery(url, 'select note from notes order by at desc limit 1'))[0]?.note,
  }
}

function redisClient(url: string): Client {
  return {
    version: async () => (await redisCommand(url, 'INFO server')).match(/redis_version:(\S+)/)![1]!,
    write: async (value) => void (await redisCommand(url, `SET note ${value}`)),
    read: async () => (await redisCommand(url, 'GET note')).split('\r\n')[1],
  }
}
