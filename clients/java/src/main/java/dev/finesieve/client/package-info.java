/**
 * The client of a finesieve server; {@link dev.finesieve.client.FinesieveClient} is the entrance.
 */
package dev.finesieve.client;
